package tokenizer

// matcher finds added tokens in text: a trie over their bytes.
type matcher struct {
	first [256]bool      // bytes that a token begins with
	edges map[edge]int32 // from the root, 0, to further nodes
	ids   []int32        // per node, the token that ends there, or -1
}

type edge struct {
	node int32
	next byte
}

// insert adds a token, which is not empty.
func (m *matcher) insert(token string, id int32) {
	if m.edges == nil {
		m.edges = map[edge]int32{}
		m.ids = []int32{-1}
	}
	m.first[token[0]] = true
	node := int32(0)
	for i := range len(token) {
		e := edge{node, token[i]}
		next, ok := m.edges[e]
		if !ok {
			next = int32(len(m.ids))
			m.ids = append(m.ids, -1)
			m.edges[e] = next
		}
		node = next
	}
	m.ids[node] = id
}

// longest is the id and the length of the longest token that text begins with;
// the length is 0 if there is none.
func (m *matcher) longest(text string) (id int32, length int) {
	node := int32(0)
	for i := range len(text) {
		next, ok := m.edges[edge{node, text[i]}]
		if !ok {
			break
		}
		node = next
		if m.ids[node] >= 0 {
			id, length = m.ids[node], i+1
		}
	}
	return id, length
}

// splitAdded walks through text, calling token for each added token and
// ordinary for each stretch without one.
func splitAdded(m *matcher, text string, token func(id int32), ordinary func(part string)) {
	begin := 0
	for i := 0; i < len(text); {
		if !m.first[text[i]] {
			i++
			continue
		}
		id, length := m.longest(text[i:])
		if length == 0 {
			i++
			continue
		}
		if begin < i {
			ordinary(text[begin:i])
		}
		token(id)
		i += length
		begin = i
	}
	if begin < len(text) {
		ordinary(text[begin:])
	}
}
