/* x86-64 engine. */
#include "engine_programs.h"
int main(void)
{
    Suite *s = suite_create("dbt");
    engine_under_test = &accel_dbt;
    engine_programs(s);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
