package local_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	stdimage "image"

	"github.com/parquet-go/parquet-go"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/inputs"
	"github.com/denseflow/densereward/reward/relabel/local"
	"github.com/denseflow/densereward/reward/relabel/store"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// photograph is a JPEG file of a smooth image, which compresses as photographs
// do.
func photograph(b *testing.B, seed int) []byte {
	b.Helper()
	const side = 512
	img := stdimage.NewRGBA(stdimage.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			at := img.PixOffset(x, y)
			v := uint32(x*7+y*13+seed*31) * 2654435761
			img.Pix[at], img.Pix[at+1], img.Pix[at+2], img.Pix[at+3] = uint8(x/2+int(v>>28)), uint8(y/2+int(v>>28)), uint8((x+y)/4+seed), 255
		}
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, img, &jpeg.Options{Quality: 90}); err != nil {
		b.Fatal(err)
	}
	return file.Bytes()
}

// writeShard writes a tar of samples whose images are files in turn.
func writeShard(b *testing.B, path string, samples int, files [][]byte) {
	b.Helper()
	shard, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	archive := tar.NewWriter(shard)
	add := func(name string, data []byte) {
		if err := archive.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o600}); err != nil {
			b.Fatal(err)
		}
		if _, err := archive.Write(data); err != nil {
			b.Fatal(err)
		}
	}
	for i := range samples {
		add(fmt.Sprintf("%06d.jpg", i), files[i%len(files)])
		add(fmt.Sprintf("%06d.txt", i), fmt.Append(nil, "prompt ", i))
	}
	if err := errors.Join(archive.Close(), shard.Close()); err != nil {
		b.Fatal(err)
	}
}

// writeParquet writes the same as one row group, whose images are a page or two.
func writeParquet(b *testing.B, path string, samples int, files [][]byte) {
	b.Helper()
	type row struct {
		Image  []byte `parquet:"image,plain"`
		Prompt string `parquet:"prompt"`
	}
	shard, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := parquet.NewGenericWriter[row](shard, parquet.PageBufferSize(100<<20), parquet.SkipPageBounds("image"), parquet.SkipPageStatistics("image"))
	for i := range samples {
		if _, err := w.Write([]row{{files[i%len(files)], fmt.Sprint("prompt ", i)}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), shard.Close()); err != nil {
		b.Fatal(err)
	}
}

// number is what stands behind a name, or at a place, in a file of Linux's /proc; NaN elsewhere.
func number(file, name string, place int) float64 {
	data, _ := os.ReadFile("/proc/self/" + file)
	_, text, _ := strings.Cut(string(data), name)
	if fields := strings.Fields(text); len(fields) > place {
		if v, err := strconv.ParseFloat(fields[place], 64); err == nil {
			return v
		}
	}
	return math.NaN()
}

// processorSeconds are those of this process, user and system.
func processorSeconds() float64 {
	const ticks = 100                                                    // a second, of /proc whatever the kernel's
	return (number("stat", ") ", 11) + number("stat", ") ", 12)) / ticks // utime and stime
}

const benchSamples = 2000

// labelShard runs a job once for each round and reports its rate, processor time and
// the peak of resident memory.
func labelShard(b *testing.B, dir string, e *local.Evaluator, labels relabel.Labels) {
	shards, err := inputs.Find(context.Background(), []string{dir}, os.Getenv)
	if err != nil {
		b.Fatal(err)
	}
	for range 3 { // pools are emptied by the second collection
		debug.FreeOSMemory()
	}
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak begins anew
	before := processorSeconds()
	for b.Loop() {
		out := b.TempDir()
		summary, err := relabel.Run(context.Background(), relabel.Job{
			Config: relabel.Config{ChunkSize: 16, Labels: labels}, Shards: shards, Output: store.Folder(out), State: filepath.Join(out, "state"),
			Evaluate: e.Evaluate, Concurrency: 3, MaxBytes: 256 << 20, Now: time.Now,
		})
		if err != nil || summary.Samples != benchSamples {
			b.Fatal(summary, err)
		}
	}
	b.ReportMetric(benchSamples*float64(b.N)/b.Elapsed().Seconds(), "images/s")
	b.ReportMetric(1000*(processorSeconds()-before)/float64(benchSamples*b.N), "cpu-ms/image")
	b.ReportMetric(number("status", "VmHWM:", 0)/1024, "peak-MiB")
}

// BenchmarkRelabel labels one shard of 512x512 JPEG files with a stand-in for
// the evaluator: what is left is decoding, the journal and the output. The last
// figure is that of decoding alone, on as many cores.
func BenchmarkRelabel(b *testing.B) {
	var files [][]byte
	for i := range 16 {
		files = append(files, photograph(b, i))
	}
	fake := &rewardtest.Fake{Side: 18}
	about := fake.Describe()
	labels := local.LabelsOf(&about, []string{relabel.ColumnDense})
	labels.MapType = relabel.Float16
	e, err := local.New(local.Options{Evaluators: []reward.Evaluator{fake}, Files: new(image.Decoder), Labels: labels})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("tar", func(b *testing.B) {
		dir := b.TempDir()
		writeShard(b, filepath.Join(dir, "shard.tar"), benchSamples, files)
		labelShard(b, dir, e, labels)
	})
	b.Run("parquet", func(b *testing.B) {
		dir := b.TempDir()
		writeParquet(b, filepath.Join(dir, "shard.parquet"), benchSamples, files)
		labelShard(b, dir, e, labels)
	})
	b.Run("decode", func(b *testing.B) {
		decoder := new(image.Decoder)
		before := processorSeconds()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := decoder.Decode(files[i%len(files)]); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
		b.ReportMetric(1000*(processorSeconds()-before)/float64(b.N), "cpu-ms/image")
	})
}
