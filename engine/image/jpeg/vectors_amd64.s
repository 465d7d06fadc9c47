#include "textflag.h"

// Constants fill a register: REPEATED repeats eight bytes, LANES sixteen.
#define REPEATED(name, value) \
	DATA name<>+0(SB)/8, value; \
	DATA name<>+8(SB)/8, value; \
	DATA name<>+16(SB)/8, value; \
	DATA name<>+24(SB)/8, value; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

#define LANES(name, low, high) \
	DATA name<>+0(SB)/8, low; \
	DATA name<>+8(SB)/8, high; \
	DATA name<>+16(SB)/8, low; \
	DATA name<>+24(SB)/8, high; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

// The inverse DCT's constants with 13 fractional bits, in pairs: the low 16 bits
// go with the first coefficient, the high ones with that which is four further.
// Those of the odd coefficients are what dctHalves comes to when all of its sums
// are multiplied out.
REPEATED(even04sum, $0x2000200020002000)        // 1, 1
REPEATED(even04difference, $0xe0002000e0002000) // 1, -1
REPEATED(even26outer, $0x115129cf115129cf)      // 10703, 4433
REPEATED(even26inner, $0xd6301151d6301151)      // 4433, -10704
REPEATED(odd15of0, $0x19252c6319252c63)         // 11363, 6437
REPEATED(odd37of0, $0x08d425a108d425a1)         // 9633, 2260
REPEATED(odd15of1, $0xd39e25a1d39e25a1)         // 9633, -11362
REPEATED(odd37of1, $0xe6dcf72de6dcf72d)         // -2259, -6436
REPEATED(odd15of2, $0x08d5192508d51925)         // 6437, 2261
REPEATED(odd37of2, $0x25a1d39e25a1d39e)         // -11362, 9633
REPEATED(odd15of3, $0x25a108d425a108d4)         // 2260, 9633
REPEATED(odd37of3, $0xd39de6dcd39de6dc)         // -6436, -11363
REPEATED(halfOfColumns, $0x0000040000000400)    // 1<<10
REPEATED(halfOfRows, $0x0202000002020000)       // 1<<17 + 128<<18

// The largest sum of a column's magnitudes with which all that comes out of the
// first pass has 16 bits: 5905*11363>>11 is 32762.
REPEATED(largestSum, $0x0000171100001711)
LANES(transpose4x4, $0x0d0905010c080400, $0x0f0b07030e0a0602)

// LOAD adds a row to the sums of magnitudes in Y8, and its bits to those in Y9.
#define LOAD(row, y) \
	VMOVDQU row*32(DX), y; \
	VPABSD  y, Y10; \
	VPADDD  Y10, Y8, Y8; \
	VPOR    Y10, Y9, Y9

// PAIR makes low the words of low, each followed by that of high.
#define PAIR(high, low) \
	VPSLLD   $16, high, high; \
	VPBLENDW $0xaa, high, low, low

// ODD makes s and d of an even half the sum with the odd half, and the
// difference.
#define ODD(by15, by37, shift, even, s, d) \
	VPMADDWD by15<>(SB), Y1, Y0; \
	VPMADDWD by37<>(SB), Y3, Y2; \
	VPADDD   Y2, Y0, Y0; \
	VPADDD   Y0, even, s; \
	VPSUBD   Y0, even, d; \
	VPSRAD   shift, s, s; \
	VPSRAD   shift, d, d

// TRANSFORM transforms the pairs of coefficients 0 and 4 in Y0, 1 and 5 in Y1, 2
// and 6 in Y2, 3 and 7 in Y3. The results are Y12, Y14, Y4, Y6, Y7, Y5, Y15, Y13.
#define TRANSFORM(half, shift) \
	VPMADDWD even04sum<>(SB), Y0, Y4; \
	VPMADDWD even04difference<>(SB), Y0, Y5; \
	VPMADDWD even26outer<>(SB), Y2, Y6; \
	VPMADDWD even26inner<>(SB), Y2, Y7; \
	VPADDD   half<>(SB), Y4, Y4; \
	VPADDD   half<>(SB), Y5, Y5; \
	VPADDD   Y6, Y4, Y8; \
	VPSUBD   Y6, Y4, Y9; \
	VPADDD   Y7, Y5, Y10; \
	VPSUBD   Y7, Y5, Y11; \
	ODD(odd15of0, odd37of0, shift, Y8, Y12, Y13); \
	ODD(odd15of1, odd37of1, shift, Y10, Y14, Y15); \
	ODD(odd15of2, odd37of2, shift, Y11, Y4, Y5); \
	ODD(odd15of3, odd37of3, shift, Y9, Y6, Y7)

// HALVES makes y, of row n, and other, of row n+4, one register of dwords: the
// words 0 to 3 of row n with the words 4 to 7, and the same of row n+4.
#define HALVES(other, otherX, y) \
	VPERM2I128  $0x31, other, y, Y8; \
	VINSERTI128 $1, otherX, y, y; \
	VPSLLD      $16, Y8, Y8; \
	VPBLENDW    $0xaa, Y8, y, y

// func inverseDCTAVX2(dst *uint8, stride int, block *[64]int32) bool
TEXT ·inverseDCTAVX2(SB), NOSPLIT, $0-25
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), SI
	MOVQ block+16(FP), DX

	VPXOR Y8, Y8, Y8
	VPXOR Y9, Y9, Y9
	LOAD(0, Y0)
	LOAD(1, Y1)
	LOAD(2, Y2)
	LOAD(3, Y3)
	LOAD(4, Y4)
	LOAD(5, Y5)
	LOAD(6, Y6)
	LOAD(7, Y7)
	VPSRLD   $13, Y9, Y9
	VPCMPGTD largestSum<>(SB), Y8, Y8
	VPOR     Y9, Y8, Y8
	VPTEST   Y8, Y8
	JNZ      wide

	VPXOR   Y9, Y9, Y9
	VMOVDQU Y9, 0(DX)
	VMOVDQU Y9, 32(DX)
	VMOVDQU Y9, 64(DX)
	VMOVDQU Y9, 96(DX)
	VMOVDQU Y9, 128(DX)
	VMOVDQU Y9, 160(DX)
	VMOVDQU Y9, 192(DX)
	VMOVDQU Y9, 224(DX)

	PAIR(Y4, Y0)
	PAIR(Y5, Y1)
	PAIR(Y6, Y2)
	PAIR(Y7, Y3)
	TRANSFORM(halfOfColumns, $11)

	// Each register has two rows; transposed, each has a pair of columns.
	HALVES(Y7, X7, Y12)
	HALVES(Y5, X5, Y14)
	HALVES(Y15, X15, Y4)
	HALVES(Y13, X13, Y6)
	VPUNPCKLDQ  Y14, Y12, Y8
	VPUNPCKHDQ  Y14, Y12, Y9
	VPUNPCKLDQ  Y6, Y4, Y10
	VPUNPCKHDQ  Y6, Y4, Y11
	VPUNPCKLQDQ Y10, Y8, Y0
	VPUNPCKHQDQ Y10, Y8, Y1
	VPUNPCKLQDQ Y11, Y9, Y2
	VPUNPCKHQDQ Y11, Y9, Y3
	TRANSFORM(halfOfRows, $18)

	// Columns of samples to rows.
	VPACKSSDW    Y14, Y12, Y0
	VPACKSSDW    Y6, Y4, Y1
	VPACKSSDW    Y5, Y7, Y2
	VPACKSSDW    Y13, Y15, Y3
	VPACKUSWB    Y1, Y0, Y0
	VPACKUSWB    Y3, Y2, Y2
	VMOVDQU      transpose4x4<>(SB), Y4
	VPSHUFB      Y4, Y0, Y0
	VPSHUFB      Y4, Y2, Y2
	VPUNPCKLDQ   Y2, Y0, Y1
	VPUNPCKHDQ   Y2, Y0, Y3
	VEXTRACTI128 $1, Y1, X5
	VEXTRACTI128 $1, Y3, X7
	LEAQ         (SI)(SI*2), CX
	VMOVQ        X1, (DI)
	VMOVHPS      X1, (DI)(SI*1)
	VMOVQ        X3, (DI)(SI*2)
	VMOVHPS      X3, (DI)(CX*1)
	LEAQ         (DI)(SI*4), DI
	VMOVQ        X5, (DI)
	VMOVHPS      X5, (DI)(SI*1)
	VMOVQ        X7, (DI)(SI*2)
	VMOVHPS      X7, (DI)(CX*1)
	VZEROUPPER
	MOVB         $1, ret+24(FP)
	RET

wide:
	VZEROUPPER
	MOVB $0, ret+24(FP)
	RET

// SUM makes sum three times the bytes of near and once those of far, as words.
#define SUM(offset, sum) \
	VPMOVZXBW offset(SI), sum; \
	VPMOVZXBW offset(DX), Y4; \
	VPADDW    sum, Y4, Y4; \
	VPADDW    sum, sum, sum; \
	VPADDW    Y4, sum, sum

// func doubleRowsAVX2(out, near, far *uint8, n int, first, second uint16)
TEXT ·doubleRowsAVX2(SB), NOSPLIT, $0-36
	MOVQ         out+0(FP), DI
	MOVQ         near+8(FP), SI
	MOVQ         far+16(FP), DX
	MOVQ         n+24(FP), CX
	VPBROADCASTW first+32(FP), Y6
	VPBROADCASTW second+34(FP), Y7

double:
	SUM(0, Y0)
	SUM(-1, Y1)
	SUM(1, Y2)
	VPADDW  Y0, Y0, Y3
	VPADDW  Y0, Y3, Y3
	VPADDW  Y3, Y1, Y1
	VPADDW  Y3, Y2, Y2
	VPADDW  Y6, Y1, Y1
	VPADDW  Y7, Y2, Y2
	VPSRLW  $4, Y1, Y1
	VPSRLW  $4, Y2, Y2
	VPSLLW  $8, Y2, Y2
	VPOR    Y2, Y1, Y1
	VMOVDQU Y1, (DI)
	ADDQ    $16, SI
	ADDQ    $16, DX
	ADDQ    $32, DI
	SUBQ    $16, CX
	JG      double
	VZEROUPPER
	RET

// The colour conversion's constants with 16 fractional bits, less the whole
// numbers that are added by themselves.
REPEATED(words128, $0x0080008000800080)
REPEATED(words1, $0x0001000100010001)
REPEATED(crToRLess1, $0x66e966e966e966e9)     // 26345
REPEATED(cbToBLess2, $0xc5a2c5a2c5a2c5a2)     // -14942
REPEATED(cbCrToGMore1, $0x492ea7e6492ea7e6)   // -22554, 18734
REPEATED(halfOf16, $0x0000800000008000)

// Where the bytes of sixteen pixels come from: those of the first, second and
// third sixteen bytes that are red, green and blue.
LANES(red0, $0x8002808001808000, $0x0580800480800380)
LANES(green0, $0x0280800180800080, $0x8080048080038080)
LANES(blue0, $0x8080018080008080, $0x8004808003808002)
LANES(red1, $0x8080078080068080, $0x800a808009808008)
LANES(green1, $0x8007808006808005, $0x0a80800980800880)
LANES(blue1, $0x0780800680800580, $0x8080098080088080)
LANES(red2, $0x0d80800c80800b80, $0x80800f80800e8080)
LANES(green2, $0x80800c80800b8080, $0x800f80800e80800d)
LANES(blue2, $0x800c80800b80800a, $0x0f80800e80800d80)

// PART16 makes p a sixteenth of a product's high half: (p*by/65536+1/2) rounded
// down. p comes doubled.
#define PART16(by, p) \
	VPMULHW by, p, p; \
	VPADDW  Y12, p, p; \
	VPSRAW  $1, p, p

// COLOR converts y, cb and cr, words from which 128 has been taken, to red, green
// and blue; cr becomes blue.
#define COLOR(y, cb, cr, red, green, doubled) \
	VPADDW     cr, cr, red; \
	PART16(Y14, red); \
	VPADDW     cr, red, red; \
	VPADDW     y, red, red; \
	VPUNPCKLWD cr, cb, green; \
	VPUNPCKHWD cr, cb, doubled; \
	VPMADDWD   Y11, green, green; \
	VPMADDWD   Y11, doubled, doubled; \
	VPADDD     Y10, green, green; \
	VPADDD     Y10, doubled, doubled; \
	VPSRAD     $16, green, green; \
	VPSRAD     $16, doubled, doubled; \
	VPACKSSDW  doubled, green, green; \
	VPSUBW     cr, green, green; \
	VPADDW     y, green, green; \
	VPADDW     cb, cb, doubled; \
	VMOVDQA    doubled, cr; \
	PART16(Y13, cr); \
	VPADDW     doubled, cr, cr; \
	VPADDW     y, cr, cr

// INTERLEAVE gathers sixteen bytes of each half of the pixels in y.
#define INTERLEAVE(red, green, blue, y, temporary) \
	VPSHUFB red<>(SB), Y3, y; \
	VPSHUFB green<>(SB), Y4, temporary; \
	VPOR    temporary, y, y; \
	VPSHUFB blue<>(SB), Y2, temporary; \
	VPOR    temporary, y, y

// func yccRowAVX2(out, luma, cb, cr *uint8, n int)
TEXT ·yccRowAVX2(SB), NOSPLIT, $0-40
	MOVQ    out+0(FP), DI
	MOVQ    luma+8(FP), SI
	MOVQ    cb+16(FP), DX
	MOVQ    cr+24(FP), BX
	MOVQ    n+32(FP), CX
	VMOVDQU words128<>(SB), Y15
	VMOVDQU crToRLess1<>(SB), Y14
	VMOVDQU cbToBLess2<>(SB), Y13
	VMOVDQU words1<>(SB), Y12
	VMOVDQU cbCrToGMore1<>(SB), Y11
	VMOVDQU halfOf16<>(SB), Y10
	VPXOR   Y9, Y9, Y9

color:
	VMOVDQU    (SI), Y0
	VMOVDQU    (DX), Y1
	VMOVDQU    (BX), Y2
	VPUNPCKLBW Y9, Y0, Y3
	VPUNPCKLBW Y9, Y1, Y4
	VPUNPCKLBW Y9, Y2, Y5
	VPUNPCKHBW Y9, Y0, Y0
	VPUNPCKHBW Y9, Y1, Y1
	VPUNPCKHBW Y9, Y2, Y2
	VPSUBW     Y15, Y4, Y4
	VPSUBW     Y15, Y5, Y5
	VPSUBW     Y15, Y1, Y1
	VPSUBW     Y15, Y2, Y2
	COLOR(Y3, Y4, Y5, Y6, Y7, Y8)
	COLOR(Y0, Y1, Y2, Y3, Y4, Y8)
	VPACKUSWB  Y3, Y6, Y3
	VPACKUSWB  Y4, Y7, Y4
	VPACKUSWB  Y2, Y5, Y2

	// Each half of a register has sixteen pixels.
	INTERLEAVE(red0, green0, blue0, Y0, Y1)
	INTERLEAVE(red1, green1, blue1, Y5, Y6)
	INTERLEAVE(red2, green2, blue2, Y7, Y8)
	VMOVDQU      X0, (DI)
	VMOVDQU      X5, 16(DI)
	VMOVDQU      X7, 32(DI)
	VEXTRACTI128 $1, Y0, 48(DI)
	VEXTRACTI128 $1, Y5, 64(DI)
	VEXTRACTI128 $1, Y7, 80(DI)
	ADDQ         $32, SI
	ADDQ         $32, DX
	ADDQ         $32, BX
	ADDQ         $96, DI
	SUBQ         $32, CX
	JG           color
	VZEROUPPER
	RET
