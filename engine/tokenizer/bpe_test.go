package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naiveMerge merges the bytes of word as the definition of BPE says: as long as
// neighbours are in the merge list, join the leftmost pair of the lowest rank.
func naiveMerge(t *Tokenizer, word string) []int32 {
	var symbols []int32
	for i := range len(word) {
		symbols = append(symbols, t.bytes[word[i]])
	}
	for {
		best, at := merge{rank: noRank}, -1
		for i := range len(symbols) - 1 {
			if m := t.lookup(symbols[i], symbols[i+1]); m.rank < best.rank {
				best, at = m, i
			}
		}
		if at < 0 {
			return symbols
		}
		symbols[at] = best.id
		symbols = slices.Delete(symbols, at+1, at+2)
	}
}

// checkMerges compares both ways of merging word with the naive one.
func checkMerges(t *testing.T, tok *Tokenizer, word string) {
	t.Helper()
	var work mergeWork
	want := naiveMerge(tok, word)
	if got := tok.mergeLong(nil, word, &work); !slices.Equal(got, want) {
		t.Errorf("%q merges with the heap into %v, want %v", word, got, want)
	}
	if len(word) > shortWord {
		return
	}
	if got := tok.mergeShort(nil, word, &work); !slices.Equal(got, want) {
		t.Errorf("%q merges by searching into %v, want %v", word, got, want)
	}
}

func TestMergingFollowsTheDefinition(t *testing.T) {
	tok := qwen(t)
	for i, c := range referenceCases(t) {
		if i%8 == 0 {
			for _, word := range words(NFC(c.Text)) {
				checkMerges(t, tok, word)
			}
		}
	}
	for _, letters := range []string{"a", "ab", " ", "=-", "\n", "é", "Ġ", "\x00\xff"} {
		for _, n := range []int{1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 257} {
			checkMerges(t, tok, strings.Repeat(letters, n))
		}
	}
}

func TestMergingRandomLettersFollowsTheDefinition(t *testing.T) {
	tok := qwen(t)
	random := rand.New(rand.NewPCG(1, 2))
	const letters = "etaoinshrd lu\n"
	for range 300 {
		word := make([]byte, 1+random.IntN(80))
		for i := range word {
			word[i] = letters[random.IntN(len(letters))]
		}
		checkMerges(t, tok, string(word))
	}
}

func TestLongRunsAreNotQuadratic(t *testing.T) {
	// A quadratic merge of 1 MB would run for hours; this is a test because the
	// suite would not end.
	tok := qwen(t)
	const n = 1 << 20
	ids := tok.Encode(strings.Repeat("a", n))
	if got := len(tok.Decode(ids, false)); got != n {
		t.Errorf("%d letters come back as %d", n, got)
	}
}
