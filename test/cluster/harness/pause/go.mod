// The program of a pod's sandbox (versions: see ../versions.ts).
module coatcheck.example/test/pause

go 1.24.0
