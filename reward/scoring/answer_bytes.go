package scoring

// What an answer holds beside its maps and images, in bytes a sample: scores, errors,
// names, and text and boxes as models write them.
const (
	sampleBytes = 2 << 10
	textBytes   = 8 << 10
)

// What a value of metadata takes: with its key, as a map, and in a map's table, which has
// room for eight from the first.
const (
	valueBytes  = 64
	objectBytes = 48
	tableBytes  = 8 * 32
)

// metadataBytes is the memory of metadata beside the bytes that lie in the body.
func metadataBytes(v any) (total int64) {
	total = valueBytes
	switch v := v.(type) {
	case string:
		total += int64(len(v))
	case []any:
		for _, of := range v {
			total += metadataBytes(of)
		}
	case map[string]any:
		total += objectBytes
		if len(v) > 0 {
			total += tableBytes
		}
		for key, of := range v {
			total += int64(len(key)) + metadataBytes(of)
		}
	}
	return total
}

// MapBytes is what the evaluator's maps of the Input take, 0 for those whose size it
// does not tell.
func (l *Loaded) MapBytes() int64 {
	var each int64
	for _, spec := range l.pipeline.Evaluator.Maps {
		each += 4 * int64(spec.Height) * int64(spec.Width)
	}
	return int64(len(l.in.Prompts)) * each
}

// MapBytes is what the evaluator's maps take.
func (e *Evaluated) MapBytes() int64 {
	var all int64
	for i := range e.Outcomes {
		for k := range e.Outcomes[i].Maps {
			all += 4 * int64(len(e.Outcomes[i].Maps[k].Data))
		}
	}
	return all
}

// AnswerBytes is the memory that the results of the Input and an answer made of them
// take, where the evaluator's maps take mapBytes: those are held until the answer is
// sent, and stacked where they are asked for. The Input's metadata counts as well.
func (l *Loaded) AnswerBytes(mapBytes int64) int64 {
	n := int64(len(l.in.Prompts))
	total := mapBytes + n*sampleBytes
	for _, of := range l.in.Metadata {
		total += metadataBytes(of)
	}
	if l.o.Parts.Heatmaps {
		total += mapBytes
	}
	grids := int64(2) // weight and reward
	if l.o.method().Dense() {
		grids++
	}
	total += grids * 4 * int64(l.grids.Cells())
	if l.o.Parts.Text {
		total += n * textBytes
	}
	if l.o.OnImage != nil { // an image and its file, which is no larger
		for i := range l.samples {
			total += 2 * 3 * int64(l.samples[i].height) * int64(l.samples[i].width)
		}
	}
	return total
}
