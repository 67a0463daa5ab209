# shellcheck shell=bash
# A certificate authority of the cluster's own, the servers' certificate, and a user with a password.

make_certificates() {
    local folder=$DIR/secure
    [[ ! -f $folder/password ]] || return 0
    command -v openssl >/dev/null || die "--secure needs openssl"
    mkdir -p "$folder"
    # The server's key is in there; only whoever started it reads it.
    chmod 700 "$folder"
    {
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=Verdict test authority" \
            -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
            -keyout "$folder/ca.key" -out "$folder/ca.pem"
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" \
            -keyout "$folder/server.key" -out "$folder/server.csr"
        openssl x509 -req -in "$folder/server.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 30 \
            -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3") -out "$folder/server.crt"
    } >"$folder/openssl.log" 2>&1 || {
        cat "$folder/openssl.log" >&2
        die "making certificates failed: see above"
    }
    cat "$folder/server.key" "$folder/server.crt" "$folder/ca.pem" >"$folder/server.pem"
    echo verdict >"$folder/user"
    openssl rand -hex 16 >"$folder/password"
}
