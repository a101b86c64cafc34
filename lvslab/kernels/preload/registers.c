/*
 * ptrace(2) for a User-Mode Linux kernel that keeps fewer of a program's registers than the processor has, as kernels before 6.13 on one with
 * AMX. Loaded before it. Such a kernel gives and takes the first 2,696 bytes (arch/x86/um/user-offsets.c: HOST_FP_SIZE); the machine's kernel
 * takes the whole or nothing (arch/x86/kernel/fpu/regset.c: xstateregs_set). So the kernel gets the part that it asks for, without AMX in the
 * list of what is in use, and gives it back with the rest as it is after a start: tiles that no program may use unasked (arch_prctl(2),
 * ARCH_REQ_XCOMP_PERM).
 *
 * No header is included, so that a compiler is enough to make it.
 */
typedef unsigned long size;

struct iovec {
	void *base;
	size length;
};

extern void *dlsym(void *handle, const char *name);
extern void *memcpy(void *to, const void *from, size length);
extern void *memset(void *to, int byte, size length);

#define RTLD_NEXT ((void *)-1L)
#define PTRACE_GETREGSET 0x4204
#define PTRACE_SETREGSET 0x4205
#define NT_X86_XSTATE 0x202ul
#define XSTATE_BV 512 /* offset of the list of what is in use: Intel SDM, volume 1, 13.4.2 */
#define AMX (3ul << 17)

/* A User-Mode Linux kernel traces in one thread; its stacks are too small for this. */
static char whole[65536];
static size whole_size;

static void leave_out_amx(void)
{
	size in_use;

	memcpy(&in_use, whole + XSTATE_BV, sizeof(in_use));
	in_use &= ~AMX;
	memcpy(whole + XSTATE_BV, &in_use, sizeof(in_use));
}

long ptrace(int request, int pid, void *address, void *data)
{
	static long (*real)(int, int, void *, void *);
	struct iovec *asked = data, all = { whole, sizeof(whole) };
	long result;

	if (!real)
		real = (long (*)(int, int, void *, void *))dlsym(RTLD_NEXT, "ptrace");
	if ((size)address != NT_X86_XSTATE || (request != PTRACE_GETREGSET && request != PTRACE_SETREGSET))
		return real(request, pid, address, data);
	if (request == PTRACE_SETREGSET && whole_size) {
		if (asked->length >= whole_size)
			return real(request, pid, address, data);
		memset(whole, 0, whole_size);
		memcpy(whole, asked->base, asked->length);
		leave_out_amx();
		all.length = whole_size;
		return real(request, pid, address, &all);
	}
	if (request == PTRACE_SETREGSET)
		return real(request, pid, address, data);
	result = real(request, pid, address, &all);
	if (result < 0)
		return result;
	whole_size = all.length;
	if (asked->length > whole_size)
		asked->length = whole_size;
	if (asked->length < whole_size)
		leave_out_amx();
	memcpy(asked->base, whole, asked->length);
	return result;
}
