package resize

import "testing"

func BenchmarkResize(b *testing.B) {
	var r Resizer
	src := r.Resize(readImage(b, "images/astronaut.png"), 1024, 1024)
	mid := r.Resize(src, 512, 512)
	b.Run("1024 to 512", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Resize(src, 512, 512)
		}
	})
	b.Run("512 to 504 torch", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.ResizeTorch(mid, 504, 504)
		}
	})
	b.Run("512 to 1024", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Resize(mid, 1024, 1024)
		}
	})
}
