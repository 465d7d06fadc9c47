package torchfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/safetensors"
)

// noStorage is for pickles without tensors.
func noStorage(any) (any, error) { return storage{key: "0", dtype: safetensors.F32}, nil }

func TestPicklesThatAreNoStateDictAreRefused(t *testing.T) {
	const proto = "\x80\x02"
	tests := []struct{ name, pickle, says string }{
		{"nothing", "", "ends early"},
		{"no end", proto + "}", "ends early"},
		{"nothing left", proto + ".", "nothing on the stack"},
		{"a text that is cut", proto + "X\xff\xff\xff\x7fabc.", "ends early"},
		{"a function of the system", proto + "cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", `"os.system"`},
		{"a function of builtins", proto + "c__builtin__\neval\n.", `"__builtin__.eval"`},
		{"an instance", proto + "(i__main__\nX\n.", "0x69"},
		{"a name on the stack", proto + "X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93.", "0x93"},
		{"a call of no function", proto + "})R.", "no function"},
		{"a call of a storage", proto + "ctorch\nFloatStorage\n)R.", "no function"},
		{"a tensor without arguments", proto + "ctorch._utils\n_rebuild_tensor_v2\n)R.", "0 arguments"},
		{"a tensor without a storage", proto + "ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR.", "without a storage"},
		{"a tensor of a negative size", proto + "ctorch._utils\n_rebuild_tensor_v2\n(NQK\x00J\xff\xff\xff\xff\x85K\x01\x85tR.", "no size"},
		{"a parameter of nothing", proto + "ctorch._utils\n_rebuild_parameter\n(NtR.", "without a tensor"},
		{"no mark", proto + "t.", "no mark"},
		{"the memo is empty", proto + "h\x00.", "nothing at 0"},
		{"a key without a value", proto + "}(Nu.", "keys and values"},
		{"a number is filled", proto + "K\x01(NNu.", "is filled"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := unpickle([]byte(test.pickle), noStorage)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v does not say %q", err, test.says)
			}
		})
	}
}

func TestNumbersAreThoseOfPython(t *testing.T) {
	for pickle, want := range map[string]any{
		"K\xff.": int64(255), "M\xff\xff.": int64(65535), "J\xff\xff\xff\xff.": int64(-1), "\x8a\x00.": int64(0), "\x8a\x01\xfb.": int64(-5),
		"\x8a\x06\x00\x00\x00\x00\x00\x01.": int64(1 << 40), "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.": int64(-1 << 63),
		"G\x3f\xd0\x00\x00\x00\x00\x00\x00.": 0.25, "\x88.": true, "N.": nil, "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.": opaque{},
	} {
		if got, err := unpickle([]byte(pickle), noStorage); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", pickle, got, err, want)
		}
	}
}

// Dictionaries that hold each other grow without end when they are followed.
func TestDictionariesThatHoldEachOtherAreBounded(t *testing.T) {
	itself := "}q\x00X\x01\x00\x00\x00ah\x00s."
	var many strings.Builder // 10 levels, each with 20 times the one below
	many.WriteString("}q\x00")
	for level := byte(1); level < 8; level++ {
		many.WriteString("}q" + string([]byte{level}))
		for i := range byte(20) {
			many.WriteString("X\x01\x00\x00\x00" + string([]byte{'a' + i}) + "h" + string([]byte{level - 1}) + "s")
		}
	}
	many.WriteString(".")
	for name, test := range map[string]struct{ pickle, says string }{
		"in itself": {itself, "more than 8 deep"}, "many times over": {many.String(), "values in dictionaries"},
	} {
		v, err := unpickle([]byte(test.pickle), noStorage)
		if err != nil {
			t.Fatal(err)
		}
		c := collector{seen: map[string]bool{}}
		if err := c.collect("", v, 0); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzUnpickle: no pickle panics or takes more memory than its size allows.
func FuzzUnpickle(f *testing.F) {
	names, err := filepath.Glob("testdata/*.pt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			f.Fatal(err)
		}
		if a, err := newArchive(file); err == nil {
			entry, err := a.entry("data.pkl")
			if err != nil {
				f.Fatal(err)
			}
			data, err := readAll(entry, maxPickleBytes)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
		if err := file.Close(); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := unpickle(data, persistent)
		if err != nil {
			return
		}
		c := collector{archive: &archive{}, seen: map[string]bool{}}
		_ = c.collect("", stateDict(v), 0)
	})
}

// FuzzArchive: every tensor that is found lies within the file.
func FuzzArchive(f *testing.F) {
	names, err := filepath.Glob("testdata/*.*t")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := readArchive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		tensors, err := a.tensors()
		if err != nil {
			return
		}
		for _, found := range tensors {
			length, err := safetensors.ByteLength(found.DType, found.Shape)
			if err != nil || length != found.Length || found.Offset < 0 || found.Offset+found.Length > int64(len(data)) {
				t.Errorf("%+v in %d bytes, %v", found, len(data), err)
			}
		}
	})
}
