package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// image makes a file of a header and dataBytes zeros.
func image(header string, dataBytes int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	return append(b, make([]byte, dataBytes)...)
}

// read parses a file in memory.
func read(data []byte) ([]entry, error) {
	entries, _, _, err := readHeader(bytes.NewReader(data), int64(len(data)))
	return entries, err
}

func TestHeadersAreReadAsWritten(t *testing.T) {
	data := image(`{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[2,26]},`+
		`"none":{"shape":[4,0],"dtype":"F64","data_offsets":[2,2]},`+
		`"a":{"data_offsets":[0,2],"dtype":"BF16","shape":[]}}   `, 26)
	entries, metadata, dataStart, err := readHeader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{"a", BF16, []int64{}, 0, 2},
		{"none", F64, []int64{4, 0}, 2, 2},
		{"b", F32, []int64{2, 3}, 2, 26},
	}
	if !reflect.DeepEqual(entries, want) {
		t.Errorf("entries %v, want %v", entries, want)
	}
	if dataStart != int64(len(data)-26) || metadata["format"] != "pt" {
		t.Errorf("data start at %d of %d, metadata %v", dataStart, len(data), metadata)
	}
}

func TestEmptyFilesOfTheFormatAreRead(t *testing.T) {
	for _, header := range []string{`{}`, `{"__metadata__":{}}`, "{ }\n"} {
		if entries, err := read(image(header, 0)); err != nil || len(entries) != 0 {
			t.Errorf("%q: %v, %v", header, entries, err)
		}
	}
}

// tensor is the entry of a tensor in a header.
func tensor(dtype, shape, offsets string) string {
	return `{"dtype":"` + dtype + `","shape":` + shape + `,"data_offsets":` + offsets + `}`
}

func TestFaultyHeadersAreErrorsThatNameTheTensor(t *testing.T) {
	good := tensor("U8", "[4]", "[0,4]")
	deep := strings.Repeat("[", 1<<20)
	for name, test := range map[string]struct {
		header    string
		dataBytes int
		tensor    string
		reason    string
	}{
		"an unknown dtype":             {`{"w":` + tensor("F12", "[4]", "[0,4]") + `}`, 4, "w", `unknown dtype "F12"`},
		"a dtype in lower case":        {`{"w":` + tensor("u8", "[4]", "[0,4]") + `}`, 4, "w", `unknown dtype "u8"`},
		"a dtype that is a number":     {`{"w":{"dtype":8,"shape":[4],"data_offsets":[0,4]}}`, 4, "w", "not a string"},
		"a length that does not fit":   {`{"w":` + tensor("F32", "[4]", "[0,4]") + `}`, 4, "w", "needs 16 bytes, data_offsets give 4"},
		"a fraction of a byte":         {`{"w":` + tensor("F4", "[3]", "[0,1]") + `}`, 1, "w", "does not fill whole bytes"},
		"a range inside out":           {`{"w":` + tensor("U8", "[4]", "[4,0]") + `}`, 4, "w", "[4 0] are not a range"},
		"one offset":                   {`{"w":` + tensor("U8", "[4]", "[4]") + `}`, 4, "w", "[4] are not a range"},
		"three offsets":                {`{"w":` + tensor("U8", "[4]", "[0,4,4]") + `}`, 4, "w", "more than 2 numbers"},
		"an end past the file":         {`{"w":` + good + `}`, 3, "w", "ends at byte 4 of 3"},
		"an end past every file":       {`{"w":` + tensor("U8", "[1152921504606846975]", "[0,1152921504606846975]") + `}`, 4, "w", "past the end"},
		"an overlap":                   {`{"v":` + good + `,"w":` + tensor("U8", "[4]", "[2,6]") + `}`, 6, "w", "overlap"},
		"the same range twice":         {`{"v":` + good + `,"w":` + good + `}`, 4, "w", "overlap"},
		"a hole":                       {`{"v":` + good + `,"w":` + tensor("U8", "[4]", "[6,10]") + `}`, 10, "w", "hole that begins at 4"},
		"a hole in front":              {`{"w":` + tensor("U8", "[4]", "[1,5]") + `}`, 5, "w", "hole that begins at 0"},
		"bytes after the last tensor":  {`{"w":` + good + `}`, 5, "", "1 bytes after the last tensor"},
		"a name twice":                 {`{"w":` + good + `,"w":` + good + `}`, 4, "w", "named twice"},
		"a name twice, once escaped":   {`{"w":` + good + `,"\u0077":` + good + `}`, 4, "w", "named twice"},
		"metadata twice":               {`{"__metadata__":{},"__metadata__":{}}`, 0, "__metadata__", "named twice"},
		"metadata of numbers":          {`{"__metadata__":{"a":1}}`, 0, "", "not a string"},
		"metadata with a key twice":    {`{"__metadata__":{"a":"1","a":"2"}}`, 0, "a", "named twice in __metadata__"},
		"a key twice":                  {`{"w":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 4, "w", `key "dtype" occurs twice`},
		"an unknown key":               {`{"w":{"dtype":"U8","shape":[4],"offsets":[0,4]}}`, 4, "w", `unknown key "offsets"`},
		"a key in another case":        {`{"w":{"DType":"U8","shape":[4],"data_offsets":[0,4]}}`, 4, "w", `unknown key "DType"`},
		"a key missing":                {`{"w":{"dtype":"U8","shape":[4]}}`, 4, "w", "missing"},
		"a negative dimension":         {`{"w":` + tensor("U8", "[-4]", "[0,4]") + `}`, 4, "w", "shape holds -4"},
		"a dimension of a fraction":    {`{"w":` + tensor("U8", "[4.0]", "[0,4]") + `}`, 4, "w", "shape holds 4.0"},
		"a dimension with an exponent": {`{"w":` + tensor("U8", "[4e0]", "[0,4]") + `}`, 4, "w", "shape holds 4e0"},
		"a dimension beyond int64":     {`{"w":` + tensor("U8", "[9223372036854775808]", "[0,4]") + `}`, 4, "w", "not an integer of 0 to 2^63-1"},
		"a dimension of words":         {`{"w":` + tensor("U8", `["4"]`, "[0,4]") + `}`, 4, "w", "not a number"},
		"a shape that overflows":       {`{"w":` + tensor("U8", "[4294967296,4294967296,4294967296]", "[0,4]") + `}`, 4, "w", "too many elements"},
		"the largest int64":            {`{"w":` + tensor("U8", "[9223372036854775807]", "[0,9223372036854775807]") + `}`, 4, "w", "too many bytes"},
		"a size that overflows":        {`{"w":` + tensor("F64", "[4611686018427387904]", "[0,4]") + `}`, 4, "w", "too many bytes"},
		"a shape that wraps to 0":      {`{"w":` + tensor("F64", "[2305843009213693952]", "[0,0]") + `}`, 0, "w", "too many bytes"},
		"65 dimensions":                {`{"w":` + tensor("U8", "["+strings.Repeat("1,", 64)+"1]", "[0,1]") + `}`, 1, "w", "more than 64 numbers"},
		"a tensor that is a list":      {`{"w":[]}`, 0, "w", "[ where { belongs"},
		"a header that is a list":      {`[]`, 0, "", "does not begin with {"},
		"white space first":            {` {}`, 0, "", "does not begin with {"},
		"two objects":                  {`{}{}`, 0, "", "something follows"},
		"no object":                    {``, 0, "", "does not begin with {"},
		"a header that is cut":         {`{"w":{"dtype":"U8"`, 0, "w", "EOF"},
		"bytes that are not UTF-8":     {"{\"w\xff\":{}}", 0, "", "not UTF-8"},
		"deep nesting":                 {`{"w":{"shape":` + deep, 0, "w", "not a number"},
		"deep nesting of objects":      {`{"w":` + strings.Repeat(`{"shape":`, 1<<20), 0, "w", "{ where [ belongs"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(image(test.header, test.dataBytes))
			wantFault(t, err, test.tensor, test.reason)
		})
	}
}

// wantFault expects a FormatError of the given tensor.
func wantFault(t *testing.T, err error, tensor, reason string) {
	t.Helper()
	var fault *FormatError
	if !errors.As(err, &fault) {
		t.Fatalf("error %v is no FormatError", err)
	}
	if fault.Tensor != tensor || !strings.Contains(fault.Reason, reason) {
		t.Errorf("tensor %q: %q; want tensor %q: %q", fault.Tensor, fault.Reason, tensor, reason)
	}
}

func TestHeaderLengthsAreChecked(t *testing.T) {
	length := func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
	for name, test := range map[string]struct {
		data   []byte
		reason string
	}{
		"no file":                   {nil, "0 bytes are too few"},
		"half a length":             {[]byte{1, 0, 0}, "3 bytes are too few"},
		"more than the file":        {append(length(3), "{}"...), "header of 3 bytes in a file of 10"},
		"more than the limit":       {length(maxHeaderBytes + 1), "exceeds the limit of 104857600"},
		"more than 63 bits":         {append(length(1<<63), "{}"...), "exceeds the limit"},
		"all the bits":              {append(length(1<<64-1), "{}"...), "exceeds the limit"},
		"the limit in a small file": {append(length(maxHeaderBytes), "{}"...), "in a file of 10"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(test.data)
			wantFault(t, err, "", test.reason)
		})
	}
}

func TestEveryDTypeHasItsSize(t *testing.T) {
	for dtype, bits := range map[DType]int{
		Bool: 8, F4: 4, F6E2M3: 6, F6E3M2: 6, U8: 8, I8: 8, F8E5M2: 8, F8E4M3: 8, F8E8M0: 8, F8E4M3FNUZ: 8,
		F8E5M2FNUZ: 8, I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, I64: 64, U64: 64, F64: 64,
		C64: 64, "": 0, "F128": 0,
	} {
		if got := dtype.Bits(); got != bits {
			t.Errorf("%s has %d bits, want %d", dtype, got, bits)
		}
		if bits == 0 {
			continue
		}
		if n, err := ByteLength(dtype, []int64{3, 8}); err != nil || n != int64(3*bits) {
			t.Errorf("[3 8] of %s is %d bytes, %v, want %d", dtype, n, err, 3*bits)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(image(`{}`, 0))
	f.Add(image(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24))
	f.Add(image(`{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}`, 2))
	f.Add(image(`{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}}`, 0))
	f.Add(binary.LittleEndian.AppendUint64(nil, maxHeaderBytes))
	if shard, err := os.ReadFile(filepath.Join(nano, "model-00002-of-00002.safetensors")); err != nil {
		f.Fatal(err)
	} else {
		n := binary.LittleEndian.Uint64(shard)
		f.Add(shard[:n+lengthBytes])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _, dataStart, err := readHeader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		reached, names := int64(0), map[string]bool{}
		for _, e := range entries {
			if e.begin != reached || names[e.name] {
				t.Fatalf("%q begins at %d, not %d, or is named twice", e.name, e.begin, reached)
			}
			if n, err := ByteLength(e.dtype, e.shape); err != nil || n != e.end-e.begin {
				t.Fatalf("%q: %d bytes, %v", e.name, n, err)
			}
			reached, names[e.name] = e.end, true
		}
		if dataStart+reached != int64(len(data)) {
			t.Fatalf("tensors end at %d of %d", dataStart+reached, len(data))
		}
	})
}
