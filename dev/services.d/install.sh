# shellcheck shell=bash
# What the servers need: a Docker engine with the official images, or a JDK and the jars from Maven Central, pinned and cached.

CACHE=${VERDICT_SERVICES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/verdict/services}
readonly CACHE

declare -A IMAGES=([kafka]=apache/kafka:4.4.0 [cassandra]=cassandra:5.0.9)
declare -A TITLES=([kafka]="Apache Kafka 4.4.0" [cassandra]="Apache Cassandra 5.0.9")

# Prints where the servers run: in containers or on a JVM.
engine() {
    if [[ ${VERDICT_SERVICES_DOCKER:-1} != 0 ]] && command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1; then
        echo docker
    else
        echo jvm
    fi
}

install_servers() { # KIND...
    local kind engine
    engine=$(engine)
    for kind in "$@"; do
        if [[ $engine == docker ]]; then
            docker image inspect "${IMAGES[$kind]}" >/dev/null 2>&1 || docker pull --quiet "${IMAGES[$kind]}" >&2 ||
                die "docker could not fetch ${IMAGES[$kind]}; VERDICT_SERVICES_DOCKER=0 uses a JVM instead"
        else
            JAVA=$(find_java "$kind")
            install_jars "$kind"
            [[ $kind != kafka ]] || kafka_archive_classes
        fi
    done
}

# Where the jars are, named by what they must be, so that another version is another folder.
jars_folder() { # KIND
    local pins
    pins=$(sha256sum <"$PARTS/$1/jars.sha256")
    echo "$CACHE/$1-${pins:0:12}"
}

install_jars() { # KIND
    local folder
    folder=$(jars_folder "$1")
    [[ ! -d $folder ]] || return 0
    mkdir -p "$CACHE"
    (
        flock 9
        [[ ! -d $folder ]] || exit 0
        command -v mvn >/dev/null || apt_install maven || die "Maven is needed to fetch ${TITLES[$1]}: install maven"
        say "fetching ${TITLES[$1]} from Maven Central into $folder"
        # The folder gets its name only once it is whole.
        rm -rf "$folder.part"
        fetch_jars "$1" "$folder.part" || fetch_jars "$1" "$folder.part" || die "fetching ${TITLES[$1]} failed: see above"
        (cd "$folder.part" && sha256sum --check --strict --quiet "$PARTS/$1/jars.sha256") >&2 ||
            die "what came for ${TITLES[$1]} is not what dev/services.d/$1/jars.sha256 expects"
        mv "$folder.part" "$folder"
    ) 9>"$CACHE/$1.lock"
}

fetch_jars() { # KIND FOLDER
    local said
    said=$(mvn --quiet --batch-mode --no-transfer-progress --file "$PARTS/$1/pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$2" 2>&1) && return
    echo "$said" >&2
    return 1
}

# Prints the `java` to run KIND on. Kafka runs on 17 or later, Cassandra 5 is made for 17 alone.
find_java() { # KIND
    java_of "$1" && return
    apt_install openjdk-17-jre-headless && java_of "$1" && return
    case $1 in
    kafka) die "Kafka needs a JDK 17 or later, and none was found: install one, or set JAVA_HOME" ;;
    cassandra) die "Cassandra needs a JDK 17 (not a later one), and none was found: install openjdk-17-jre-headless, set JAVA_HOME, or run a Docker engine" ;;
    esac
}

java_of() { # KIND
    local java later='' version
    for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)" /usr/lib/jvm/*/bin/java /opt/*/bin/java \
        /opt/java/*/bin/java /usr/java/*/bin/java /usr/local/*/bin/java "$HOME"/.sdkman/candidates/java/*/bin/java; do
        [[ -x $java ]] || continue
        version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
        if [[ $version == 17 ]]; then
            echo "$java"
            return
        fi
        [[ -z $later && -n $version ]] && ((17 < version)) && later=$java
    done
    [[ $1 == kafka && -n $later ]] && echo "$later"
}

apt_install() { # PACKAGE
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
    say "installing $1"
    mkdir -p "$CACHE"
    {
        flock 7
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1"
    } 7>"$CACHE/apt.lock" >/dev/null 2>&1
}
