package tokenizer

// pair is two neighbouring symbols, merge what they become. Merges of a lower
// rank come first.
type pair struct{ left, right int32 }

type merge struct{ rank, id int32 }

// noRank is above every rank.
const noRank = int32(1<<31 - 1)

// shortWord is the longest word, in bytes, whose symbols are searched for the
// best pair one by one. Below it that is faster than a heap.
const shortWord = 32

// mergeWork is memory that the words of one text share.
type mergeWork struct {
	symbols [shortWord]int32
	merges  [shortWord]merge
	list    []node
	heap    mergeHeap
}

func (t *Tokenizer) appendMerged(ids []int32, word string, work *mergeWork) []int32 {
	if len(word) <= shortWord {
		return t.mergeShort(ids, word, work)
	}
	return t.mergeLong(ids, word, work)
}

// lookup is the merge of two symbols; its rank is noRank if there is none.
func (t *Tokenizer) lookup(left, right int32) merge {
	if m, ok := t.merges[pair{left, right}]; ok {
		return m
	}
	return merge{rank: noRank}
}

// mergeShort keeps for each symbol the merge with its right neighbour.
func (t *Tokenizer) mergeShort(ids []int32, word string, work *mergeWork) []int32 {
	n := len(word)
	symbols, merges := work.symbols[:n], work.merges[:n]
	for i := range n {
		symbols[i] = t.bytes[word[i]]
	}
	symbols[n-1] = t.ends[word[n-1]]
	for i := range n - 1 {
		merges[i] = t.lookup(symbols[i], symbols[i+1])
	}
	for n > 1 {
		best := 0
		for i := range n - 1 {
			if merges[i].rank < merges[best].rank {
				best = i
			}
		}
		if merges[best].rank == noRank {
			break
		}
		symbols[best] = merges[best].id
		copy(symbols[best+1:n-1], symbols[best+2:n])
		copy(merges[best:n-1], merges[best+1:n])
		n--
		if best > 0 {
			merges[best-1] = t.lookup(symbols[best-1], symbols[best])
		}
		if best < n-1 {
			merges[best] = t.lookup(symbols[best], symbols[best+1])
		}
	}
	return append(ids, symbols[:n]...)
}

// node is a symbol of a long word in a linked list. A symbol that was merged
// into its left neighbour has id -1.
type node struct{ id, prev, next int32 }

// candidate is a merge of the symbol at position at with its right neighbour,
// as it was when the candidate was made.
type candidate struct {
	merge
	at          int32
	left, right int32
}

// mergeLong takes the best candidate from a heap. A merge leaves candidates of
// its neighbours behind that no longer hold; they are passed over when they
// come up.
func (t *Tokenizer) mergeLong(ids []int32, word string, work *mergeWork) []int32 {
	list, heap := work.list[:0], work.heap[:0]
	for i := range len(word) {
		list = append(list, node{t.bytes[word[i]], int32(i - 1), int32(i + 1)})
	}
	end := int32(len(word))
	list[end-1].id = t.ends[word[end-1]]
	propose := func(at int32) {
		next := list[at].next
		if next == end {
			return
		}
		left, right := list[at].id, list[next].id
		if m := t.lookup(left, right); m.rank != noRank {
			heap.push(candidate{m, at, left, right})
		}
	}
	for at := range end - 1 {
		propose(at)
	}
	for len(heap) > 0 {
		c := heap.pop()
		next := list[c.at].next
		if list[c.at].id != c.left || next == end || list[next].id != c.right {
			continue
		}
		list[c.at].id = c.id
		list[c.at].next = list[next].next
		list[next].id = -1
		if after := list[c.at].next; after != end {
			list[after].prev = c.at
		}
		if before := list[c.at].prev; before >= 0 {
			propose(before)
		}
		propose(c.at)
	}
	for at := int32(0); at < end; at = list[at].next {
		ids = append(ids, list[at].id)
	}
	work.list, work.heap = list, heap
	return ids
}

// mergeHeap is a binary heap, the lowest rank on top and the leftmost of equal
// ranks. container/heap would allocate for each candidate.
type mergeHeap []candidate

func (c candidate) before(d candidate) bool {
	return c.rank < d.rank || c.rank == d.rank && c.at < d.at
}

func (h *mergeHeap) push(c candidate) {
	s := append(*h, c)
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !c.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = c
	*h = s
}

func (h *mergeHeap) pop() candidate {
	s := *h
	top, last := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	if len(s) == 0 {
		return top
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(s) {
			break
		}
		if child+1 < len(s) && s[child+1].before(s[child]) {
			child++
		}
		if !s[child].before(last) {
			break
		}
		s[i] = s[child]
		i = child
	}
	s[i] = last
	return top
}
