/* SSE state rules that several files need. */
#ifndef DRAGOMAN_CPU_SIMD_H
#define DRAGOMAN_CPU_SIMD_H

/* Bits of MXCSR that may be set (MXCSR_MASK of the FXSAVE image; SDM vol. 1, 11.6.6). */
#define MXCSR_MASK 0xffffu
#define MXCSR_RESET 0x1f80u

#endif
