// The oracle with one version of Talos' packages.
package main

import "fairlead/oracle"

func main() { oracle.Main() }
