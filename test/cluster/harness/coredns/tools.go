// Package coredns pins the command the cluster tier builds; the blank import keeps `go mod tidy` from dropping it.
package coredns

import _ "github.com/coredns/coredns"
