package ocr

import "slices"

// difference is how what was read differs from its target.
type difference struct {
	distance int    // Levenshtein's, or 0 where the target is contained
	wrong    []bool // characters that were read and belong to no match
	gaps     []int  // places, as indices of what was read, before which one lacks
}

// compare aligns what was read with its target.
func compare(read, target []rune) difference {
	d := difference{wrong: make([]bool, len(read))}
	switch {
	case contains(read, target):
		return d
	case len(read) > 2*len(target): // further off than the target is long
		d.distance = len(read) - len(target)
		for i := range d.wrong {
			d.wrong[i] = true
		}
		return d
	}
	width := len(target) + 1
	table := make([]int32, (len(read)+1)*width) // distances of beginnings
	for i := range len(read) + 1 {
		for j := range width {
			at := i*width + j
			switch {
			case i == 0:
				table[at] = int32(j)
			case j == 0:
				table[at] = int32(i)
			default:
				replaced := table[at-width-1]
				if read[i-1] != target[j-1] {
					replaced++
				}
				table[at] = min(replaced, table[at-width]+1, table[at-1]+1)
			}
		}
	}
	d.distance = int(table[len(table)-1])
	for i, j := len(read), len(target); i > 0 || j > 0; {
		at := i*width + j
		switch {
		case i > 0 && j > 0 && read[i-1] == target[j-1] && table[at] == table[at-width-1]:
			i, j = i-1, j-1
		case i > 0 && j > 0 && table[at] == table[at-width-1]+1:
			d.wrong[i-1] = true
			i, j = i-1, j-1
		case i > 0 && table[at] == table[at-width]+1:
			d.wrong[i-1] = true
			i--
		default:
			d.gaps = append(d.gaps, i)
			j--
		}
	}
	return d
}

func contains(text, part []rune) bool {
	for i := range len(text) - len(part) + 1 {
		if slices.Equal(text[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// score is the reward of a distance for a target of n characters.
func score(distance, n int) float64 { return 1 - float64(min(distance, n))/float64(n) }
