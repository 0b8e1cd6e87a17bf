// Package helm pins the command the cluster tier builds; the blank import keeps `go mod tidy` from dropping it.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
