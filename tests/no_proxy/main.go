// Prints, for each URL of its arguments, whether Go's HTTP client uses the proxy of the environment.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	for _, url := range os.Args[1:] {
		request, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			panic(err)
		}
		proxy, err := http.ProxyFromEnvironment(request)
		if err != nil {
			panic(err)
		}
		fmt.Println(proxy != nil)
	}
}
