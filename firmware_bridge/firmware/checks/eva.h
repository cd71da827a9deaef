/* What Frama-C's parser does not take; gcc has checked the assertions. */
#define _Static_assert(condition, words) extern int blk_checked_by_gcc
#define __builtin_sqrtf sqrtf
