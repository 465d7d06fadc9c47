package qwenvl

// Part is the samples From to To-1 of some.
type Part struct{ From, To int }

// Parts cuts samples whose prompts have the given lengths into batches, in order: of
// at most rows samples and, padded to the longest, at most tokens tokens. A sample of
// more is a batch by itself.
func Parts(lengths []int, rows, tokens int) []Part {
	var parts []Part
	from, longest := 0, 0
	for i, n := range lengths {
		if i > from && (i-from == rows || max(longest, n)*(i-from+1) > tokens) {
			parts = append(parts, Part{from, i})
			from, longest = i, 0
		}
		longest = max(longest, n)
	}
	if len(lengths) > from {
		parts = append(parts, Part{from, len(lengths)})
	}
	return parts
}
