/* MMX: what its instructions check before they execute.  Their operations are IR.
 *
 * Touches struct x87 only.
 */
#include "cpu/helpers.h"
#include "cpu/x87.h"

u64 helper_mmx_check(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    x87_wait(cpu);
    return 0;
}
