// Library copies ONNX Runtime's library, which it finds or downloads as the program
// does, into a folder of an image: under its own name, and as libonnxruntime.so.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/denseflow/densereward/engine/ort/provision"
)

func main() {
	cuda := flag.Bool("cuda", false, "with the CUDA provider")
	flag.Parse()
	if err := install(context.Background(), flag.Arg(0), provision.Options{CUDA: *cuda}); err != nil {
		log.Fatal(err)
	}
}

func install(ctx context.Context, folder string, o provision.Options) error {
	if folder == "" {
		return fmt.Errorf("want the folder to copy to")
	}
	library, err := provision.Find(ctx, o)
	if err != nil {
		return err
	}
	if err := os.CopyFS(folder, os.DirFS(filepath.Dir(library.Path))); err != nil {
		return err
	}
	name := filepath.Base(library.Path)
	if name == "libonnxruntime.so" {
		return nil
	}
	return os.Symlink(name, filepath.Join(folder, "libonnxruntime.so"))
}
