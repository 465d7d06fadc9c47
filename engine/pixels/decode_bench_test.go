package pixels

import "testing"

// BenchmarkDecode decodes photographs of 512x512 and gives them back, as a server
// does.
func BenchmarkDecode(b *testing.B) {
	run := func(name, file string, d *Decoder) {
		b.Run(name, func(b *testing.B) {
			data := readFile(b, file)
			b.ReportAllocs()
			for b.Loop() {
				img, err := d.Decode(data)
				if err != nil {
					b.Fatal(err)
				}
				d.Recycle(img)
			}
		})
	}
	inGo := new(Decoder)
	run("PNG", "images/astronaut.png", inGo)
	run("WebP", "files/photo.webp", inGo)
	library, err := NewDecoder(DecoderConfig{JPEG: JPEGTurbo})
	for name, file := range map[string]string{"JPEG": "files/photo-420.jpg", "progressive JPEG": "files/photo-420-progressive.jpg"} {
		run(name+" in Go", file, inGo)
		run(name+" in Go without AVX2", file, &Decoder{scalar: true})
		if err == nil {
			run(name+" by libjpeg-turbo", file, library)
		}
	}
}

// BenchmarkFromTensor makes pictures of 512x512 tensors.
func BenchmarkFromTensor(b *testing.B) {
	for _, dtype := range []DType{Uint8, Float16, BFloat16, Float32} {
		for layout, name := range []string{"HWC", "CHW"} {
			b.Run(dtype.String()+" "+name, func(b *testing.B) {
				data := make([]byte, 512*512*3*dtype.Size())
				for i := range data {
					data[i] = byte(i) & 0x3b // finite in every type
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := FromTensor(Tensor{dtype, Layout(layout), 512, 512, data}, Limits{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkOverlay(b *testing.B) {
	img := readPicture(b, "images/astronaut.png")
	heat := make([]float32, 288*288)
	for i := range heat {
		heat[i] = float32(i%289) / 288
	}
	b.ReportAllocs()
	for b.Loop() {
		Overlay(img, heat, 288, 288)
	}
}

func BenchmarkEncodePNG(b *testing.B) {
	img := readPicture(b, "images/astronaut.png")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodePNG(img); err != nil {
			b.Fatal(err)
		}
	}
}
