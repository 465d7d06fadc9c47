package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	var tensors []Source
	want := map[string][]byte{}
	for i, dtype := range []DType{Bool, F4, F6E2M3, F6E3M2, U8, I8, F8E5M2, F8E4M3, F8E8M0, F8E4M3FNUZ, F8E5M2FNUZ,
		I16, U16, F16, BF16, I32, U32, F32, I64, U64, F64, C64} {
		shape := []int64{4, int64(i)}
		data := bytes.Repeat([]byte{byte(i)}, 4*i*dtype.Bits()/8)
		name := "model.\"" + string(dtype) + "\".ü"
		want[name] = data
		tensors = append(tensors, Source{name, dtype, shape, func(w io.Writer) error {
			for _, b := range data { // in many small pieces
				if _, err := w.Write([]byte{b}); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	tensors = append(tensors, Source{"scalar", F32, nil, func(w io.Writer) error {
		_, err := io.WriteString(w, "abcd")
		return err
	}})
	want["scalar"] = []byte("abcd")
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := Write(path, tensors); err != nil {
		t.Fatal(err)
	}
	c, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Names()) != len(tensors) || c.Metadata()["format"] != "pt" {
		t.Errorf("names %v, metadata %v", c.Names(), c.Metadata())
	}
	for _, source := range tensors {
		tensor, _ := c.Tensor(source.Name)
		if tensor.DType != source.DType || !slices.Equal(tensor.Shape, source.Shape) {
			t.Errorf("%+v, want %v of %s", tensor, source.Shape, source.DType)
		}
		data, err := c.Read(source.Name)
		if err != nil || !bytes.Equal(data, want[source.Name]) {
			t.Errorf("%s: %v, %v", source.Name, data, err)
		}
	}
}

func TestDataBeginsAtAMultipleOfEight(t *testing.T) {
	for n := 1; n < 12; n++ {
		name := strings.Repeat("n", n)
		path := filepath.Join(t.TempDir(), "model.safetensors")
		if err := Write(path, []Source{bytesSource(name, 1)}); err != nil {
			t.Fatal(err)
		}
		c, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if tensor, _ := c.Tensor(name); tensor.Offset%8 != 0 {
			t.Errorf("a name of %d letters puts the data at %d", n, tensor.Offset)
		}
	}
}

func TestASourceWithoutBytesLeavesAHole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	err := Write(path, []Source{
		bytesSource("first", 1, 2),
		{Name: "hole", DType: BF16, Shape: []int64{15193, 2048}},
		bytesSource("last", 3),
		{Name: "end", DType: F32, Shape: []int64{5}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"first": "\x01\x02", "last": "\x03", "end": strings.Repeat("\x00", 20)} {
		if data, err := c.Read(name); err != nil || string(data) != want {
			t.Errorf("%s is %v, %v", name, data, err)
		}
	}
	hole, err := c.Read("hole")
	if err != nil || len(hole) != 15193*2048*2 || len(bytes.Trim(hole, "\x00")) != 0 {
		t.Errorf("the hole is not all zeros: %d bytes, %v", len(hole), err)
	}
}

func TestWritingFaultyTensorsIsAnErrorAndLeavesNoFile(t *testing.T) {
	failure := errors.New("no more numbers")
	var enormous []Source
	for i := range 8 {
		enormous = append(enormous, Source{fmt.Sprintf("w%d", i), U8, []int64{1<<60 - 1}, nil})
	}
	fill := func(n int) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(make([]byte, n)); return err }
	}
	for name, test := range map[string]struct {
		tensors []Source
		want    string
	}{
		"too few bytes":       {[]Source{{"w", U8, []int64{4}, fill(3)}}, `tensor "w": 1 of 4 bytes were not written`},
		"too many bytes":      {[]Source{{"w", U8, []int64{4}, fill(5)}}, `tensor "w": more bytes than the shape holds`},
		"a failing source":    {[]Source{{"w", U8, []int64{4}, func(io.Writer) error { return failure }}}, failure.Error()},
		"an unknown dtype":    {[]Source{{"w", "F12", []int64{4}, fill(4)}}, `tensor "w": unknown dtype "F12"`},
		"a negative size":     {[]Source{{"w", U8, []int64{-1}, nil}}, `tensor "w": shape [-1]`},
		"an enormous size":    {[]Source{{"w", U8, []int64{1 << 62, 4}, nil}}, "too many elements"},
		"enormous sizes":      {enormous, `tensor "w7": the file would exceed`},
		"a name twice":        {[]Source{bytesSource("w", 1), bytesSource("w", 2)}, `tensor "w": the name occurs twice`},
		"the metadata's name": {[]Source{bytesSource("__metadata__", 1)}, "reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := Write(filepath.Join(dir, "model.safetensors"), test.tensors)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v does not say %q", err, test.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%v is left behind", left)
			}
		})
	}
	if err := Write(filepath.Join(t.TempDir(), "absent", "model.safetensors"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v of a folder that does not exist", err)
	}
}

func TestAFailedWriteKeepsTheFileThatWasThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := Write(path, []Source{bytesSource("old", 1)}); err != nil {
		t.Fatal(err)
	}
	failing := Source{"new", U8, []int64{1}, func(io.Writer) error { return errors.New("broken") }}
	if err := Write(path, []Source{failing}); err == nil {
		t.Fatal("no error")
	}
	if c, err := OpenFile(path); err != nil || c.Names()[0] != "old" {
		t.Errorf("the file is gone: %v", err)
	}
	if err := Write(path, []Source{bytesSource("new", 2)}); err != nil {
		t.Fatal(err)
	}
	if c, err := OpenFile(path); err != nil || c.Names()[0] != "new" {
		t.Errorf("the file was not replaced: %v", err)
	}
}

func TestShardsAreFilledInOrder(t *testing.T) {
	dir := t.TempDir()
	err := WriteShards(dir, []Source{
		bytesSource("d", 1, 2, 3), bytesSource("c", 4), bytesSource("b", 5, 6, 7, 8, 9, 10), bytesSource("a", 11),
	}, 4)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"d": "model-00001-of-00003.safetensors", "c": "model-00001-of-00003.safetensors",
		"b": "model-00002-of-00003.safetensors", // larger than a shard may be
		"a": "model-00003-of-00003.safetensors",
	} {
		if tensor, _ := c.Tensor(name); tensor.File != want {
			t.Errorf("%s lies in %s, want %s", name, tensor.File, want)
		}
	}
	err = WriteShards(t.TempDir(), []Source{bytesSource("a", 1), bytesSource("a", 2)}, 1)
	wantFault(t, err, "a", "the name occurs twice")
	err = WriteShards(t.TempDir(), []Source{{Name: "a", DType: "F12"}}, 1)
	wantFault(t, err, "a", "unknown dtype")
}
