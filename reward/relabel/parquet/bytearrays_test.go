package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/format"
)

type sampleRow struct {
	Image  []byte   `parquet:"image,optional"`
	Prompt string   `parquet:"prompt"`
	Tags   []string `parquet:"tags,list"`
	Deep   []struct {
		Name *string  `parquet:"name,optional"`
		More [][]byte `parquet:"more"`
	} `parquet:"deep,list"`
	Votes []float32 `parquet:"votes"`
	ID    int64     `parquet:"id"`
	Hash  [4]byte   `parquet:"hash"`
}

func sampleRows(n int) []sampleRow {
	random := rand.New(rand.NewPCG(3, 4))
	rows := make([]sampleRow, n)
	for i := range rows {
		r := &rows[i]
		if i%4 != 3 {
			r.Image = bytes.Repeat([]byte{byte(i), byte(random.Uint32())}, random.IntN(5000))
		}
		r.Prompt, r.ID = fmt.Sprintf("prompt %d", i%5), int64(i)
		for k := range i % 3 {
			r.Tags = append(r.Tags, strings.Repeat("tag", k))
		}
		r.Deep = make([]struct {
			Name *string  `parquet:"name,optional"`
			More [][]byte `parquet:"more"`
		}, i%4)
		for k := range r.Deep {
			if k%2 == 0 {
				r.Deep[k].Name = &r.Prompt
			}
			r.Deep[k].More = make([][]byte, (i+k)%3)
			for m := range r.Deep[k].More {
				r.Deep[k].More[m] = []byte{byte(m)}
			}
		}
		r.Votes = make([]float32, i%2)
	}
	return rows
}

// writeSample writes rows in groups of 70.
func writeSample(t testing.TB, rows []sampleRow, options ...parquet.WriterOption) []byte {
	t.Helper()
	var file bytes.Buffer
	w := parquet.NewGenericWriter[sampleRow](&file, append(options, parquet.MaxRowsPerRowGroup(70))...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// readGroups reads a file with ours.
func readGroups(data []byte) (rows []parquet.Row, err error) {
	return readGroupsWith(data, smallDictionary)
}

// readGroupsWith holds dictionaries of so many bytes as a whole.
func readGroupsWith(data []byte, small int32) (rows []parquet.Row, err error) {
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	for i := range file.RowGroups() {
		g := openGroup(file, bytes.NewReader(data), i)
		for _, c := range g.columns {
			if b, ok := c.values.(*byteArrays); ok {
				b.small = small
			}
		}
		for {
			row, err := g.next()
			if errors.Is(err, io.EOF) && g.rows == 0 {
				break
			}
			if err != nil {
				return rows, errors.Join(err, g.close())
			}
			rows = append(rows, row)
		}
		if err := g.close(); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// libraryRows reads a file with the library's own reader of whole pages.
func libraryRows(t *testing.T, data []byte) (all []parquet.Row) {
	t.Helper()
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range file.RowGroups() {
		rows := g.Rows()
		one := make([]parquet.Row, 1)
		for {
			n, err := rows.ReadRows(one)
			if n == 1 {
				all = append(all, one[0].Clone())
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestRowsAreThoseOfTheLibrary(t *testing.T) {
	rows := sampleRows(200)
	codecs := map[string]compress.Codec{
		"uncompressed": &parquet.Uncompressed, "snappy": &parquet.Snappy, "gzip": &parquet.Gzip, "brotli": &parquet.Brotli, "zstd": &parquet.Zstd,
	}
	encodings := map[string]parquet.WriterOption{
		"plain":        parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.Plain),
		"dictionary":   parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.RLEDictionary),
		"delta":        parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaByteArray),
		"delta length": parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaLengthByteArray),
	}
	for codecName, codec := range codecs {
		for encodingName, encoding := range encodings {
			for version := 1; version <= 2; version++ {
				t.Run(fmt.Sprintf("%s, %s, pages of version %d", codecName, encodingName, version), func(t *testing.T) {
					data := writeSample(t, rows, parquet.Compression(codec), encoding, parquet.DataPageVersion(version), parquet.PageBufferSize(20_000))
					got, err := readGroups(data)
					if err != nil {
						t.Fatal(err)
					}
					want := libraryRows(t, data)
					if len(got) != len(rows) || len(want) != len(rows) {
						t.Fatalf("%d rows, the library reads %d", len(got), len(want))
					}
					beside, err := readGroupsWith(data, 0) // dictionaries are read beside their pages
					if err != nil || len(beside) != len(rows) {
						t.Fatalf("%d rows, %v", len(beside), err)
					}
					for i := range want {
						if !got[i].Equal(want[i]) || !sameLevels(got[i], want[i]) || !beside[i].Equal(want[i]) {
							t.Fatalf("row %d: %+v and %+v, want %+v", i, got[i], beside[i], want[i])
						}
					}
				})
			}
		}
	}
}

func sameLevels(a, b parquet.Row) bool {
	levels := func(r parquet.Row) (all [][3]int) {
		for _, v := range r {
			all = append(all, [3]int{v.RepetitionLevel(), v.DefinitionLevel(), v.Column()})
		}
		return all
	}
	return reflect.DeepEqual(levels(a), levels(b))
}

// counter counts the bytes that were read of a file.
type counter struct {
	*bytes.Reader
	read int64
}

func (c *counter) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.Reader.ReadAt(p, at)
	c.read += int64(n)
	return n, err
}

// 8 MB of images in one page, as pyarrow writes them.
func TestAPageIsNeverReadWhole(t *testing.T) {
	type row struct {
		Image []byte `parquet:"image,optional,plain"`
	}
	random := rand.NewChaCha8([32]byte{})
	rows := make([]row, 8)
	for i := range rows {
		rows[i].Image = make([]byte, 1_000_000)
		_, _ = random.Read(rows[i].Image) // never fails
	}
	for name, codec := range map[string]compress.Codec{"uncompressed": &parquet.Uncompressed, "snappy": &parquet.Snappy} {
		t.Run(name, func(t *testing.T) {
			g, source := countedGroup(t, rows, codec, 1<<30)
			for i := range rows {
				row, err := g.next()
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(row[0].ByteArray(), rows[i].Image) {
					t.Fatalf("row %d is another image", i)
				}
				if most := int64(i+1)*1_001_000 + 2*readAhead; source.read > most {
					t.Errorf("%d bytes were read for %d images", source.read, i+1)
				}
			}
			if err := g.close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// countedGroup is the first group of a file of rows with a column "image", and what counts
// the bytes that are read of it from then on.
func countedGroup[T any](t *testing.T, rows []T, codec compress.Codec, page int) (*group, *counter) {
	t.Helper()
	var data bytes.Buffer
	w := parquet.NewGenericWriter[T](&data, parquet.Compression(codec), parquet.PageBufferSize(page), parquet.SkipPageBounds("image"), parquet.SkipPageStatistics("image"))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	source := &counter{Reader: bytes.NewReader(data.Bytes())}
	file, err := parquet.OpenFile(source, source.Size())
	if err != nil {
		t.Fatal(err)
	}
	source.read = 0
	return openGroup(file, source, 0), source
}

// pyarrow begins a row group with a dictionary, which of images is most of it.
func TestADictionaryIsReadAsItsValuesAreAskedFor(t *testing.T) {
	type row struct {
		Image []byte `parquet:"image,optional,dict"`
	}
	const images = 24
	rows := make([]row, 0, 3*images)
	for i := range images {
		image := bytes.Repeat([]byte{byte(i), 1}, 500_000)
		rows = append(rows, row{image}, row{}, row{image})
	}
	rows = append(rows, rows[0]) // the first is asked for once more
	g, source := countedGroup(t, rows, &parquet.Uncompressed, 40)
	for i := range rows {
		got, err := g.next()
		if err != nil {
			t.Fatal(err)
		}
		if got[0].IsNull() != (rows[i].Image == nil) || !got[0].IsNull() && !bytes.Equal(got[0].ByteArray(), rows[i].Image) {
			t.Fatalf("row %d is another image", i)
		}
		if most := int64(i/3+1)*1_000_004 + 4*readAhead; source.read > most {
			t.Errorf("%d bytes were read for %d rows", source.read, i+1)
		}
		held := g.columns[0].values.(*byteArrays).large.held
		if len(held) > 2 || len(held) == 2 && held[0] == nil {
			t.Errorf("%d images are held after row %d", len(held), i)
		}
	}
	if _, err := g.next(); !errors.Is(err, io.EOF) || len(g.columns[0].values.(*byteArrays).large.held) > 0 {
		t.Errorf("at the end %v", err)
	}
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
}

func TestSnappyIsReadInAWindow(t *testing.T) {
	text := []byte(strings.Repeat("a long text that is repeated now and again, ", 100_000))
	noise := make([]byte, 3_000_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise) // never fails
	for name, data := range map[string][]byte{"nothing": {}, "text": text, "noise": noise, "both": append(append(text[:100_000:100_000], noise...), text...), "zeros": make([]byte, 5_000_000)} {
		var s snappyReader
		for range 2 { // a reader is used again
			if err := s.reset(bytes.NewReader(s2.EncodeSnappy(nil, data))); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(&s)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(data), err)
			}
		}
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"cut short":                     {s2.EncodeSnappy(nil, text)[:1000], io.ErrUnexpectedEOF},
		"a copy from before the start":  {[]byte{4, 0x01, 9}, errSnappy},
		"a copy from nowhere":           {[]byte{8, 0, 'a', 0x0d, 0}, errSnappy},
		"a copy from beyond the window": {[]byte{8, 0, 'a', 0x0f, 0, 0, 0xff, 0}, errSnappyWindow},
		"a literal past the end":        {[]byte{2, 0xf0, 200}, errSnappy},
	} {
		var s snappyReader
		if err := s.reset(bytes.NewReader(c.data)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(&s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestLevelsThatClaimTooMuchCostNothing(t *testing.T) {
	for name, data := range map[string][]byte{
		"a run without end":        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"a level that is too high": {2 << 1, 3},
		"nothing":                  {},
	} {
		h := newHybrid(&slice{data: data}, width(2))
		if _, err := h.level(2); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestADamagedPageIsAnError(t *testing.T) {
	data, err := os.ReadFile("testdata/checksums.parquet")
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := readGroups(data); err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	data[bytes.Index(data, []byte("IHDR"))+20] ^= 1
	if _, err := readGroups(data); err == nil || !strings.Contains(err.Error(), "column image: a page's checksum is wrong") {
		t.Errorf("error %v", err)
	}
}

func FuzzGroups(f *testing.F) {
	rows := sampleRows(12)
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Zstd} {
		for version := 1; version <= 2; version++ {
			f.Add(writeSample(f, rows, parquet.Compression(codec), parquet.DataPageVersion(version)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true)) // as the reader does: the library panics on a damaged index
		if err != nil || len(file.RowGroups()) == 0 {
			return
		}
		for i, chunk := range file.Metadata().RowGroups[0].Columns {
			leaf := leafOf(file, i)
			if leaf == nil || leaf.Type().Kind() != parquet.ByteArray || chunk.MetaData.Codec == format.Lz4Raw {
				continue
			}
			b := newByteArrays(bytes.NewReader(data), leaf, chunk.MetaData)
			if len(data)%2 == 0 {
				b.small = 0
			}
			for n := 0; n < 1000; n++ {
				if _, err := b.next(); err != nil {
					break
				}
			}
			if err := b.close(); err != nil {
				t.Error(err)
			}
		}
	})
}
