package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/denseflow/densereward/internal/loadgen"
	"github.com/denseflow/densereward/reward/wire"
)

// A contestant is a server and how it is asked.
type contestant struct {
	name    string
	peer    bool // the others are measured against it
	address string
	command []string
	forms   []loadgen.Form
	target  func(address, label string, concurrency, batch int, images []wire.Image) (loadgen.Target, error)
}

func contestants(o options, python string) []contestant {
	const flask, fastapi, ours = "127.0.0.1:18101", "127.0.0.1:18102", "127.0.0.1:18103"
	return []contestant{
		{
			name: "flask gunicorn pickle", peer: true, address: flask, forms: []loadgen.Form{loadgen.JPEG},
			command: []string{
				python, "-m", "gunicorn", "--chdir", o.scripts, "--bind", flask,
				"--workers", fmt.Sprint(o.workers), "--log-level", "warning", "flask_pickle:app",
			},
			target: asPickle,
		},
		{
			name: "fastapi json base64", peer: true, address: fastapi, forms: []loadgen.Form{loadgen.PNG},
			command: []string{
				python, "-m", "uvicorn", "--app-dir", o.scripts, "--host", "127.0.0.1", "--port", "18102",
				"--log-level", "warning", "fastapi_png:app",
			},
			target: asJSON,
		},
		{
			name: "densereward", address: ours, forms: []loadgen.Form{loadgen.JPEG, loadgen.PNG, loadgen.Raw},
			command: []string{os.Args[0], "-serve", ours, "-cache", fmt.Sprint(o.cache)},
			target:  asMessage,
		},
	}
}

// asMessage asks in protocol version 1.
func asMessage(address, label string, concurrency, batch int, images []wire.Image) (loadgen.Target, error) {
	return loadgen.Score("http://"+address, loadgen.NewClient(concurrency), label, batch, images, nil), nil
}

// asPickle asks as a trainer that pickles does.
func asPickle(address, _ string, concurrency, batch int, images []wire.Image) (loadgen.Target, error) {
	body := pickle(fill(batch, images), prompts(batch))
	return posts(address, concurrency, batch, "application/octet-stream", body), nil
}

// asJSON asks with base64 in JSON.
func asJSON(address, _ string, concurrency, batch int, images []wire.Image) (loadgen.Target, error) {
	texts := make([]string, batch)
	for i, file := range fill(batch, images) {
		texts[i] = base64.StdEncoding.EncodeToString(file)
	}
	body, err := json.Marshal(map[string][]string{"images": texts, "prompts": prompts(batch)})
	if err != nil {
		return nil, err
	}
	return posts(address, concurrency, batch, "application/json", body), nil
}

// fill is the files of a batch, taken round and round.
func fill(batch int, images []wire.Image) [][]byte {
	files := make([][]byte, batch)
	for i := range files {
		files[i] = images[i%len(images)].Encoded
	}
	return files
}

func prompts(batch int) []string {
	texts := make([]string, batch)
	for i := range texts {
		texts[i] = fmt.Sprintf("a photograph, number %d", i)
	}
	return texts
}

// posts sends the same body again and again, which spares the peers' load
// nothing: they have no cache.
func posts(address string, concurrency, batch int, contentType string, body []byte) loadgen.Target {
	return &loadgen.Poster{
		URL: "http://" + address + "/", ContentType: contentType, Client: loadgen.NewClient(concurrency),
		Make: func() (loadgen.Shot, error) {
			read := func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }
			return loadgen.Shot{Body: read, Length: int64(len(body)), Images: batch}, nil
		},
		Read: func(s loadgen.Shot, status int, answer []byte) loadgen.Answer {
			if maps := 64 * 64 * s.Images; status != http.StatusOK || len(answer) < maps {
				return loadgen.Answer{Code: fmt.Sprintf("http %d", status)}
			}
			return loadgen.Answer{Code: loadgen.OK, Images: s.Images}
		},
	}
}
