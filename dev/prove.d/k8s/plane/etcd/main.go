// etcd, of the release that the API server is built with, so that the proof needs Go and nothing of the machine's packages.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
