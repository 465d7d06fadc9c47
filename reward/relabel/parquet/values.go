package parquet

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// values reads one leaf column of a row group in order. The bytes of a value stay as
// they are; those of a dictionary belong to several.
type values interface {
	next() (parquet.Value, error) // io.EOF behind the last
	close() error
}

// rows reads the rows of a file, one row group after the other.
type rows struct {
	file   *parquet.File
	source io.ReaderAt
	opened int    // row groups
	group  *group // the one that is being read
	count  int64  // rows that were read
}

// next reads a row, io.EOF behind the last.
func (r *rows) next() (parquet.Row, error) {
	for r.group == nil || r.group.rows == 0 {
		if err := r.close(); err != nil {
			return nil, err
		}
		if r.opened == len(r.file.RowGroups()) {
			if r.count != r.file.NumRows() {
				return nil, fmt.Errorf("%d rows, where the footer says %d", r.count, r.file.NumRows())
			}
			return nil, io.EOF
		}
		if r.file.RowGroups()[r.opened].NumRows() > 0 { // the library cannot read others
			r.group = openGroup(r.file, r.source, r.opened)
		}
		r.opened++
	}
	row, err := r.group.next()
	if err == nil {
		r.count++
	}
	return row, err
}

func (r *rows) close() error {
	if r.group == nil {
		return nil
	}
	err := r.group.close()
	r.group = nil
	return err
}

// group reads the rows of one row group, a value of each column at a time: of the
// images and other byte arrays no page is ever whole in memory, and pages of other
// columns are small.
type group struct {
	columns []column
	rows    int64 // that are left
}

type column struct {
	name   string
	values values
	// A column that repeats shows the end of a row by the value behind it.
	repeats  bool
	ahead    parquet.Value
	hasAhead bool
}

func openGroup(file *parquet.File, source io.ReaderAt, index int) *group {
	rows := file.RowGroups()[index]
	g := &group{rows: rows.NumRows()}
	for i, chunk := range rows.ColumnChunks() {
		leaf := leafOf(file, i)
		c := column{name: leaf.Name(), repeats: leaf.MaxRepetitionLevel() > 0}
		if leaf.Type().Kind() == parquet.ByteArray {
			c.values = newByteArrays(source, leaf, file.Metadata().RowGroups[index].Columns[i].MetaData)
		} else {
			c.values = &pages{pages: chunk.Pages()}
		}
		g.columns = append(g.columns, c)
	}
	return g
}

// leafOf is the file's leaf column of an index.
func leafOf(file *parquet.File, index int) *parquet.Column {
	var found *parquet.Column
	var walk func(c *parquet.Column)
	walk = func(c *parquet.Column) {
		if c.Leaf() && c.Index() == index {
			found = c
		}
		for _, child := range c.Columns() {
			walk(child)
		}
	}
	walk(file.Root())
	return found
}

// next reads a row, io.EOF behind the last.
func (g *group) next() (parquet.Row, error) {
	if g.rows == 0 {
		return nil, io.EOF
	}
	row := make(parquet.Row, 0, len(g.columns))
	for i := range g.columns {
		c := &g.columns[i]
		var err error
		if row, err = c.read(row); err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%d rows are missing: %w", g.rows, io.ErrUnexpectedEOF)
			}
			return nil, fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	if g.rows--; g.rows > 0 {
		return row, nil
	}
	for i := range g.columns { // the end of a page has its checksum
		c := &g.columns[i]
		_, err := c.values.next()
		if err == nil || c.hasAhead {
			err = errors.New("there are more values than rows")
		}
		if !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	return row, nil
}

// read appends the column's values of one row.
func (c *column) read(row parquet.Row) (parquet.Row, error) {
	v, err := c.ahead, error(nil)
	if !c.hasAhead {
		v, err = c.values.next()
	}
	c.hasAhead = false
	for {
		if err != nil {
			return nil, err
		}
		row = append(row, v)
		if !c.repeats {
			return row, nil
		}
		if v, err = c.values.next(); errors.Is(err, io.EOF) {
			return row, nil
		}
		if err == nil && v.RepetitionLevel() == 0 {
			c.ahead, c.hasAhead = v, true
			return row, nil
		}
	}
}

func (g *group) close() error {
	var err error
	for _, c := range g.columns {
		err = errors.Join(err, c.values.close())
	}
	return err
}

// pages are values as the library decodes them, a page at a time.
type pages struct {
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buffer [64]parquet.Value
	ready  []parquet.Value
}

func (p *pages) next() (parquet.Value, error) {
	for len(p.ready) == 0 {
		if p.values == nil {
			page, err := p.pages.ReadPage()
			if err != nil {
				return parquet.Value{}, err
			}
			p.page, p.values = page, page.Values()
		}
		n, err := p.values.ReadValues(p.buffer[:])
		p.ready = p.buffer[:n]
		if err != nil && !errors.Is(err, io.EOF) {
			return parquet.Value{}, err
		}
		if errors.Is(err, io.EOF) {
			p.keep()
		}
	}
	v := p.ready[0]
	p.ready = p.ready[1:]
	return v.Clone(), nil
}

// keep lets the page go; values that are ready stay.
func (p *pages) keep() {
	for i := range p.ready {
		p.ready[i] = p.ready[i].Clone()
	}
	parquet.Release(p.page)
	p.page, p.values = nil, nil
}

func (p *pages) close() error {
	if p.page != nil {
		parquet.Release(p.page)
	}
	return p.pages.Close()
}
