package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// post is a call of Vault that needs no body and whose answer does not matter.
func post(ctx context.Context, url, token string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-Vault-Token", token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode < 300 {
		return nil
	}
	text, _ := io.ReadAll(answer.Body)
	return fmt.Errorf("%s: %s: %s", url, answer.Status, text)
}
