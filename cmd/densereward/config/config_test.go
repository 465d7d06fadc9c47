package config_test

import (
	"bytes"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/config"
)

func FuzzReadConfig(f *testing.F) {
	f.Add([]byte("listen = \"x\"\ndevice = [\"a\", \"b,c\"]\nthreads = 8\npublic = true\nx = 1.5"))
	f.Add([]byte("[a.b]\nc = 1979-05-27"))
	f.Add([]byte("a = [[[[1]]]]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		resolver, err := config.Read(bytes.NewReader(text))
		if (resolver == nil) == (err == nil) {
			t.Errorf("resolver %v and error %v", resolver, err)
		}
	})
}
