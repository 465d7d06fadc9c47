//go:build !amd64

package jpeg

// hasVectors reports whether there are kernels for the processor's vector
// instructions. Without, none of the others is called.
func hasVectors() bool { return false }

func inverseDCTVectors([]uint8, int, *[64]int32) bool { return false }

func doubleRowsVectors([]uint8, []uint8, []uint8, uint16, uint16) {}

func yccRowVectors([]uint8, []uint8, []uint8, []uint8) int { return 0 }
