# shellcheck shell=bash
# Processes by pid and start time, so that a pid which the system gave to another is never taken for ours.

# Prints when the process started, in ticks since boot; fails where it is gone, or dead and not yet reaped.
process_start() { # PID
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    # The name in parentheses may hold anything, so the fields are counted from behind it.
    local fields
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZXx] ]] || return 1
    echo "${fields[19]}"
}

process_is_paused() { # PID
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    stat=${stat##*) }
    [[ $stat == T* ]]
}

process_runs() { # PID START
    local start
    start=$(process_start "$1") && [[ $start == "$2" ]]
}

# Writes a file by which `recorded_process` finds the process again.
record_process() { # PID FILE
    local start
    start=$(process_start "$1") || start=gone
    echo "$1 $start" >"$2"
}

# Prints the pid of the process that FILE records, where it still runs.
recorded_process() { # FILE
    local pid start
    { read -r pid start <"$1"; } 2>/dev/null || return 1
    process_runs "$pid" "$start" || return 1
    echo "$pid"
}

process_memory_mb() { # PID
    awk '/^VmRSS:/ { print int($2 / 1024) }' "/proc/$1/status" 2>/dev/null || true
}
