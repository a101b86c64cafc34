/*
 * getrandom(2) by a seed. Loaded before a User-Mode Linux kernel, which has no other source of chance: os_getrandom() in
 * arch/um/os-Linux/util.c. What the kernel makes of it, and so every number that its programs draw, follows from LVSLAB_SEED.
 *
 * The generator is splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

static uint64_t next(void)
{
	static uint64_t state;
	static int seeded;
	uint64_t word;

	if (!seeded) {
		const char *seed = getenv("LVSLAB_SEED");

		state = seed ? strtoull(seed, NULL, 10) : 0;
		seeded = 1;
	}
	word = state += UINT64_C(0x9e3779b97f4a7c15);
	word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
	return word ^ word >> 31;
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags)
{
	unsigned char *bytes = buffer;
	uint64_t word = 0;

	(void)flags;
	for (size_t place = 0; place < length; place++) {
		if (place % sizeof(word) == 0)
			word = next();
		bytes[place] = word & 0xff;
		word >>= 8;
	}
	return (ssize_t)length;
}
