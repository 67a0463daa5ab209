# shellcheck shell=bash
# Carries out the steps of the Dockerfile: every stage is a stack of layers, a layer is a folder named by all that went into it, and a step
# works on the stack laid over each other (overlayfs), so that what it changes is the next layer. Knows the instructions that are used.

# By stage: folders of layers, the upper first; what the next layer's name begins with; and what the image would say of itself.
declare -A LAYERS=() KEYS=() ENVIRONMENT=() FOLDERS=() USERS=() ENTRYPOINTS=()
STAGE=
MOUNTS=0

take_steps() {
    local instruction
    context
    while read -r instruction; do
        take_step "$instruction"
    done < <(instructions <"$ROOT/Dockerfile")
    local target
    for target in "${TARGETS[@]}"; do
        [[ -n ${ENTRYPOINTS[$target]:-} ]] || die "the Dockerfile makes no image $target"
    done
}

# One instruction a line, without comments.
instructions() {
    awk '/^[[:space:]]*(#|$)/ { next } { more = sub(/\\$/, ""); line = line $0; if (!more) { print line; line = "" } }'
}

# The files that are committed or could be, without those that .dockerignore names: what a builder is sent.
context() {
    CONTEXT=$WORK/context
    mkdir "$CONTEXT"
    sed '/^#/d; /^$/d' "$ROOT/.dockerignore" >"$WORK/ignored"
    (cd "$ROOT" && git ls-files --cached --others --exclude-standard -z |
        while IFS= read -r -d '' file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done |
        tar --create --anchored --exclude-from="$WORK/ignored" --no-recursion --null --files-from=-) |
        tar --extract --directory "$CONTEXT"
}

take_step() { # INSTRUCTION
    local word=${1%% *} rest=${1#* }
    case $word in
    FROM) begin_stage "$rest" ;;
    RUN) run_step "$rest" ;;
    COPY) copy_step "$rest" ;;
    ENV) ENVIRONMENT[$STAGE]+=" $rest" KEYS[$STAGE]+=" $1" ;;
    WORKDIR)
        FOLDERS[$STAGE]=$rest
        run_step "mkdir -p $rest"
        ;;
    USER) USERS[$STAGE]=$rest KEYS[$STAGE]+=" $1" ;;
    ENTRYPOINT) ENTRYPOINTS[$STAGE]=$(sed 's/^\["\([^"]*\)"\]$/\1/' <<<"$rest") ;;
    LABEL | EXPOSE | VOLUME) ;;
    *) die "the Dockerfile has $word, which dev/images.d/steps.sh does not know" ;;
    esac
}

begin_stage() { # IMAGE AS NAME
    local image as name
    read -r image as name <<<"$1"
    [[ $as == AS && -n $name ]] || die "FROM without a name: $1"
    STAGE=$name
    if [[ -n ${LAYERS[$image]:-} ]]; then
        LAYERS[$name]=${LAYERS[$image]} KEYS[$name]=${KEYS[$image]} ENVIRONMENT[$name]=${ENVIRONMENT[$image]}
        FOLDERS[$name]=${FOLDERS[$image]} USERS[$name]=${USERS[$image]}
    else
        base_of "$image"
        LAYERS[$name]=$CACHE/layers/$BASE_LAYER KEYS[$name]=$image ENVIRONMENT[$name]="${BASE_ENV[*]}" FOLDERS[$name]=/ USERS[$name]=0:0
    fi
}

# Sets LAYER to the folder for what a step with this description makes of the stage; succeeds where it is there already.
known_layer() { # DESCRIPTION
    KEYS[$STAGE]=$(sha256sum <<<"${KEYS[$STAGE]} $1" | cut -c 1-24)
    LAYER=$CACHE/layers/${KEYS[$STAGE]}
    [[ -d $LAYER ]]
}

# Lays the stage's layers over each other at a folder of its own, LAID, with what is written going into the folder.
lay() { # FOLDER
    LAID=$WORK/laid$((++MOUNTS))
    rm -rf "$1" "$1.work"
    mkdir -p "$LAID" "$1" "$1.work"
    mount -t overlay overlay -o "lowerdir=${LAYERS[$STAGE]},upperdir=$1,workdir=$1.work" "$LAID"
}

# Takes what was written as the next layer.
keep() { # FOLDER
    umount "$LAID"
    rm -rf "$1.work"
    mv "$1" "$LAYER"
    LAYERS[$STAGE]=$LAYER:${LAYERS[$STAGE]}
}

run_step() { # COMMAND
    if known_layer "RUN $1"; then
        LAYERS[$STAGE]=$LAYER:${LAYERS[$STAGE]}
        return
    fi
    say "$STAGE: $1"
    local began=$SECONDS
    lay "$LAYER.part"
    inside "$LAID" "$1" || die "the step failed, of stage $STAGE: $1"
    keep "$LAYER.part"
    ((SECONDS - began < 10)) || say "$STAGE: $((SECONDS - began)) s"
}

# Runs a command of the shell in a root, with the processes, the variables and the folder of the stage and no others; with the network and
# Rust of this machine, and the certificates that it trusts.
inside() { # ROOT COMMAND
    unshare --mount --pid --fork --kill-child --propagation private bash -euc '
        root=$1 sysroot=$2 user=$3 folder=$4 command=$5
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
            [[ -e $root$file ]] || touch "$root$file"
            mount --bind "$file" "$root$file"
        done
        mount --bind -o ro "$sysroot" "$root/usr/local/rust"
        exec env -i "${@:6}" HOME=/root /usr/sbin/chroot --userspec="$user" "$root" /bin/sh -c "mkdir -p \"$folder\" && cd \"$folder\" && $command"
    ' inside "$1" "$SYSROOT" "${USERS[$STAGE]}" "${FOLDERS[$STAGE]}" "$2" ${ENVIRONMENT[$STAGE]} >&2
}

copy_step() { # [--from=STAGE] [--chown=USER] SOURCE... DESTINATION
    local word source from='' owner=0:0 paths=()
    for word in $1; do
        case $word in
        --from=*) from=${word#*=} ;;
        --chown=*) owner=${word#*=} ;;
        --*) die "COPY with $word is not known" ;;
        *) paths+=("$word") ;;
        esac
    done
    local destination=${paths[-1]}
    unset 'paths[-1]'
    source=$CONTEXT
    if [[ -n $from ]]; then
        source=$WORK/laid$((++MOUNTS))
        mkdir -p "$source"
        mount -t overlay overlay -o "lowerdir=${LAYERS[$from]}" "$source"
    fi
    local contents
    contents=$(cd "$source" && tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner "${paths[@]#/}" | sha256sum)
    if known_layer "COPY $1 $contents"; then
        LAYERS[$STAGE]=$LAYER:${LAYERS[$STAGE]}
    else
        say "$STAGE: COPY $1"
        lay "$LAYER.part"
        copy "$source" "$destination" "$owner" "${paths[@]}"
        keep "$LAYER.part"
    fi
    [[ -z $from ]] || umount "$source"
}

# Folders give their contents, files give themselves. Only what comes is given an owner: below the destination there may be much more.
copy() { # ROOT DESTINATION OWNER PATH...
    local path into=$2 part
    [[ $into == /* ]] || into=${FOLDERS[$STAGE]%/}/$into
    for path in "${@:4}"; do
        part=$1/${path#/}
        if [[ -d $part ]]; then
            mkdir -p "$LAID$into"
            tar --create --directory "$part" --owner="${3%:*}" --group="${3#*:}" --numeric-owner . |
                tar --extract --directory "$LAID$into" --numeric-owner
        else
            [[ $into != */ ]] || path=$into$(basename "$path")
            [[ $into == */ ]] || path=$into
            install -D --preserve-timestamps --mode="$(stat --format=%a "$part")" \
                --owner="${3%:*}" --group="${3#*:}" "$part" "$LAID$path"
        fi
    done
}
