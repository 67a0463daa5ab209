# shellcheck shell=bash
# The bases of the Dockerfile, made of the same packages of Debian that they are made of: layers to build upon.

readonly RELEASE=bookworm

# What rust:*-slim-bookworm has beside Debian's smallest and Rust.
readonly BUILD_PACKAGES=ca-certificates,gcc,libc6-dev

# What gcr.io/distroless/cc-debian12 is made of.
readonly RUN_PACKAGES=(base-files ca-certificates libc6 libgcc-s1 libgomp1 libssl3 libstdc++6 netbase tzdata)

# Sets BASE_LAYER to a layer, and BASE_ENV to the variables, of the image; makes the layer where it is not there.
base_of() { # IMAGE
    local name=${1%%@*}
    case $name in
    rust:*-slim-$RELEASE)
        local toolchain=${name#rust:}
        toolchain=${toolchain%-slim-*}
        SYSROOT=$(rustc "+$toolchain" --print sysroot) || die "the Dockerfile builds with Rust $toolchain: rustup toolchain install $toolchain"
        BASE_ENV=(PATH=/usr/local/cargo/bin:/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
            CARGO_HOME=/usr/local/cargo)
        BASE_LAYER=base-rust-$RELEASE
        make_layer "$BASE_LAYER" base_rust
        ;;
    gcr.io/distroless/cc-debian12:nonroot)
        BASE_ENV=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt)
        BASE_LAYER=base-cc-$RELEASE
        make_layer "$BASE_LAYER" base_cc
        ;;
    *) die "what $1 is made of is not known: see dev/images.d/bases.sh" ;;
    esac
}

# A folder gets the name of a layer only once it is whole.
make_layer() { # NAME COMMAND
    local part=$CACHE/layers/$1.part
    [[ ! -d $CACHE/layers/$1 ]] || return 0
    rm -rf "$part"
    mkdir -p "$part"
    "$2" "$part"
    mv "$part" "$CACHE/layers/$1"
}

base_rust() { # FOLDER
    command -v debootstrap >/dev/null || die "rehearse needs debootstrap: apt-get install debootstrap"
    say "making a root of Debian $RELEASE"
    debootstrap --variant=minbase --include="$BUILD_PACKAGES" "$RELEASE" "$1" >"$CACHE/debootstrap.log" 2>&1 ||
        die "debootstrap failed: see $CACHE/debootstrap.log"
    # Rust itself is bound there for each step.
    mkdir -p "$1/usr/local/rust" "$1/usr/local/cargo"
}

base_cc() { # FOLDER
    say "making a root of ${RUN_PACKAGES[*]}"
    local packages=$1.packages package
    rm -rf "$packages"
    mkdir -p "$packages"
    (cd "$packages" && apt-get download "${RUN_PACKAGES[@]}") >"$CACHE/apt.log" 2>&1 ||
        die "apt-get download failed: see $CACHE/apt.log"
    for package in "$packages"/*.deb; do
        dpkg-deb --extract "$package" "$1"
    done
    rm -rf "$packages"
    mkdir -p "$1"/{proc,dev,tmp,etc/ssl/certs,home/nonroot}
    chmod 1777 "$1/tmp"
    chown 65532:65532 "$1/home/nonroot"
    cat "$1"/usr/share/ca-certificates/mozilla/*.crt >"$1/etc/ssl/certs/ca-certificates.crt"
    printf '%s\n' root:x:0:0:root:/root:/sbin/nologin nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin >"$1/etc/passwd"
    printf '%s\n' root:x:0: nonroot:x:65532: >"$1/etc/group"
}
