// Serves external.metrics.k8s.io as KEDA's or Prometheus' adapter would: the value of each metric is what stands in a file of its name.
//
//	metrics ADDRESS FOLDER HOST
//
// It makes itself a certificate for HOST, whose PEM is in FOLDER/ca.pem once it listens.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const base = "/apis/external.metrics.k8s.io/v1beta1"

func main() {
	if len(os.Args) != 4 {
		log.Fatal("metrics ADDRESS FOLDER HOST")
	}
	address, folder, host := os.Args[1], os.Args[2], os.Args[3]
	certificate, authority := certify(host)
	listener, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "ca.pem"), authority, 0o600); err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		serve(folder, answer, request)
	})))
}

func serve(folder string, answer http.ResponseWriter, request *http.Request) {
	path := strings.TrimSuffix(request.URL.Path, "/")
	if path == base {
		write(answer, map[string]any{
			"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1",
			"resources": []any{map[string]any{
				"name": "externalmetrics", "singularName": "", "namespaced": true,
				"kind": "ExternalMetricValueList", "verbs": []string{"get"},
			}},
		})
		return
	}
	if !strings.HasPrefix(path, base+"/namespaces/") {
		http.NotFound(answer, request)
		return
	}
	name := filepath.Base(path)
	value, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		http.NotFound(answer, request)
		return
	}
	write(answer, map[string]any{
		"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": map[string]any{},
		"items": []any{map[string]any{
			"metricName": name, "metricLabels": map[string]string{},
			"timestamp": time.Now().UTC().Format(time.RFC3339), "value": strings.TrimSpace(string(value)),
		}},
	})
}

func write(answer http.ResponseWriter, body any) {
	answer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(answer).Encode(body); err != nil {
		log.Print(err)
	}
}

// A key, and a certificate that it signs itself, with its PEM.
func certify(host string) (tls.Certificate, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, encoded
}
