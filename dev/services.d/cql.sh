# shellcheck shell=bash
# Just enough of the CQL protocol, over `openssl s_client`, to create a role: no client of Cassandra need be installed.

readonly CQL_WAIT_MAX=60

# Creates the user that DIR/secure names. Cassandra makes its own superuser a moment after it takes connections.
cql_create_role() {
    local user password deadline=$((SECONDS + CQL_WAIT_MAX)) answer
    user=$(<"$DIR/secure/user") password=$(<"$DIR/secure/password")
    until answer=$(cql cassandra cassandra \
        "CREATE ROLE IF NOT EXISTS $user WITH PASSWORD = '$password' AND LOGIN = true AND SUPERUSER = true" 2>&1); do
        ((SECONDS < deadline)) || die "creating the role $user failed: $answer"
        sleep 0.2
    done
}

# Runs one statement; prints what the server says against it.
cql() { # USER PASSWORD STATEMENT
    local status=0
    coproc SERVER {
        openssl s_client -quiet -connect "127.0.0.1:$PORT" -CAfile "$DIR/secure/ca.pem" -verify_return_error \
            -verify_ip 127.0.0.1 2>/dev/null
    }
    local pid=$SERVER_PID out in
    # Subshells lose the coprocess's own descriptors, not copies of them.
    exec {out}<&"${SERVER[0]}" {in}>&"${SERVER[1]}"
    # Opcodes of version 4: STARTUP 01, AUTHENTICATE 03, QUERY 07, RESULT 08, AUTH_RESPONSE 0f, AUTH_SUCCESS 10.
    cql_ask 01 "0001$(cql_string 4 CQL_VERSION)$(cql_string 4 3.4.5)" 03 &&
        cql_ask 0f "$(cql_bytes "00$(cql_hex "$1")00$(cql_hex "$2")")" 10 &&
        cql_ask 07 "$(cql_string 8 "$3")000100" 08 || status=1
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    exec {out}<&- {in}>&-
    return $status
}

# Sends a frame with OPCODE and the BODY that is given in hexadecimal digits, and reads one that must have the opcode ANSWER.
cql_ask() { # OPCODE BODY ANSWER
    local frame header length body
    printf -v frame '04000000%s%08x%s' "$1" $((${#2} / 2)) "$2"
    cql_raw "$frame" >&"$in" || return 1
    header=$(cql_read 9)
    ((${#header} == 18)) || {
        echo "no answer"
        return 1
    }
    length=$((16#${header:10:8}))
    body=$(cql_read "$length")
    [[ ${header:8:2} == "$3" ]] || {
        # An error is a number of four bytes and a text with its length in two.
        cql_raw "${body:12}"
        return 1
    }
}

cql_read() { # COUNT
    timeout 10 dd bs=1 count="$1" <&"$out" 2>/dev/null | od -An -v -tx1 | tr -d ' \n'
}

cql_raw() { # HEX
    # shellcheck disable=SC2001,SC2059
    printf "$(sed 's/../\\x&/g' <<<"$1")"
}

cql_hex() { # TEXT
    printf %s "$1" | od -An -v -tx1 | tr -d ' \n'
}

cql_string() { # DIGITS-OF-LENGTH TEXT
    printf "%0$1x%s" "${#2}" "$(cql_hex "$2")"
}

cql_bytes() { # HEX
    printf '%08x%s' $((${#1} / 2)) "$1"
}
