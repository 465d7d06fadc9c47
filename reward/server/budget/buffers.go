package budget

import (
	"math/bits"
	"sync"
)

// smallestKept is the size from which buffers are worth keeping.
const smallestKept = 64 << 10

// Buffers keeps byte slices for the next body of about the same size. Those kept are
// nobody's: the garbage collector takes them when memory is short. The zero value is
// ready, and safe for concurrent use.
type Buffers struct {
	pools sync.Map // of *sync.Pool of *[]byte, by capacity
}

// Capacity is that of a buffer for n bytes: at most an eighth more.
func Capacity(n int64) int64 {
	if n < smallestKept {
		return n
	}
	unit := int64(1) << (bits.Len64(uint64(n)) - 4)
	return (n + unit - 1) &^ (unit - 1)
}

// Take is an empty buffer of Capacity(n).
func (b *Buffers) Take(n int64) []byte {
	size := Capacity(n)
	if pool, ok := b.pools.Load(size); ok {
		if kept, ok := pool.(*sync.Pool).Get().(*[]byte); ok {
			return (*kept)[:0]
		}
	}
	return make([]byte, 0, size)
}

// Put keeps a buffer that nobody reads any more.
func (b *Buffers) Put(buffer []byte) {
	size := int64(cap(buffer))
	if size < smallestKept || Capacity(size) != size {
		return
	}
	pool, _ := b.pools.LoadOrStore(size, &sync.Pool{})
	buffer = buffer[:0]
	pool.(*sync.Pool).Put(&buffer)
}
