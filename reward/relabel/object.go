package relabel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Field is one member of a label as JSON.
type Field struct {
	Name  string
	Value json.RawMessage
}

// Fields are the members of a label as JSON, in the order of l.Columns, without
// maps. What a failed record lacks is null.
func (l *Labels) Fields(label *Label) ([]Field, error) {
	var fields []Field
	var failure error
	add := func(name string, value any, there bool) {
		if !there {
			value = nil
		}
		data, err := json.Marshal(value)
		if err != nil && failure == nil {
			failure = err
		}
		fields = append(fields, Field{l.Prefix + name, data})
	}
	scored := !label.Failed()
	add(ColumnReward, label.Reward, scored)
	for i, name := range l.Scores {
		var score float64
		if scored {
			score = label.Scores[i]
		}
		add(name, score, scored)
	}
	add(ColumnMissing, append([]string{}, label.Missing...), true)
	if l.Text {
		add(ColumnText, label.Text, scored)
	}
	if l.Boxes {
		add(ColumnBoxes, append([]Box{}, label.Boxes...), true)
	}
	add(ColumnErrorCode, label.ErrorCode, !scored)
	add(ColumnErrorMessage, label.ErrorMessage, !scored)
	return fields, failure
}

// Merge adds the members of a label, and what stands for its maps, behind those of
// object, a JSON object, whose spelling it keeps. It fails with an ErrDoNotFit if object has one of their
// names.
func (l *Labels) Merge(object []byte, label *Label, paths ...Field) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil || members == nil {
		return nil, fmt.Errorf("no JSON object: %w", err)
	}
	if err := l.CheckCollision(slices.Collect(maps.Keys(members))); err != nil {
		return nil, err
	}
	fields, err := l.Fields(label)
	if err != nil {
		return nil, err
	}
	fields = append(fields, paths...)
	object = bytes.TrimSpace(object)
	out := slices.Clone(bytes.TrimSpace(object[:len(object)-1])) // without the brace
	for i, f := range fields {
		if i > 0 || len(members) > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), f.Value...)
	}
	return append(out, '}'), nil
}
