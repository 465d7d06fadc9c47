package parquet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ordered is a JSON object whose members keep their order, which is that of the
// columns.
type ordered struct {
	names  []string
	values []json.RawMessage
}

// UnmarshalJSON reads an object.
func (o *ordered) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return errors.New("the features are no JSON object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		o.names, o.values = append(o.names, fmt.Sprint(name)), append(o.values, value)
	}
	return nil
}

func (o *ordered) add(name string, value any) error {
	data, err := json.Marshal(value)
	o.names, o.values = append(o.names, name), append(o.values, data)
	return err
}

// MarshalJSON writes the object.
func (o ordered) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, name := range o.names {
		if i > 0 {
			out = append(out, ',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, key...), ':'), o.values[i]...)
	}
	return append(out, '}'), nil
}
