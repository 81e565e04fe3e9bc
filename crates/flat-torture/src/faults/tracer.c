/* Runs a program and gives one of its file-system calls a fault: `tracer LOG AT KIND ROOTS PROGRAM WORDS...`.
 *
 * Counted are the calls on files below one of the ROOTS (absolute, separated by colons), of the program and of every process
 * that it starts, in the order in which they are made. LOG gets a line a call: its number, its name, `room` where it may need room, its file. At call AT
 * (from 1 on; 0 for none) KIND happens: `kill` is SIGKILL to the process that makes it; `eio` and `eintr` are errors
 * instead of the call; `enospc` likewise, where the call may need room; `full` is `enospc` from that call on. The exit
 * status is the program's, 128 + N where signal N ended it, 125 where the system lets nobody trace. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FD, PATH, AT };
enum { FILE_MAX = 3 * PATH_MAX };

static const struct call {
    long number;
    const char *name;
    int file;  /* what the file is given by: a descriptor, a path, or a descriptor of a folder and a path */
    int room;  /* whether the call may need room on the disk */
} CALLS[] = {
#ifdef SYS_open
    {SYS_open, "open", PATH, 1}, {SYS_creat, "creat", PATH, 1}, {SYS_rename, "rename", PATH, 1},
    {SYS_unlink, "unlink", PATH, 0}, {SYS_mkdir, "mkdir", PATH, 1}, {SYS_rmdir, "rmdir", PATH, 0},
    {SYS_stat, "stat", PATH, 0}, {SYS_lstat, "lstat", PATH, 0}, {SYS_access, "access", PATH, 0},
    {SYS_link, "link", PATH, 1}, {SYS_chmod, "chmod", PATH, 0},
#endif
#ifdef SYS_renameat
    {SYS_renameat, "renameat", AT, 1},
#endif
#ifdef SYS_newfstatat
    {SYS_newfstatat, "newfstatat", AT, 0},
#endif
    {SYS_openat, "openat", AT, 1}, {SYS_renameat2, "renameat2", AT, 1}, {SYS_unlinkat, "unlinkat", AT, 0},
    {SYS_mkdirat, "mkdirat", AT, 1}, {SYS_linkat, "linkat", AT, 1}, {SYS_statx, "statx", AT, 0},
    {SYS_faccessat, "faccessat", AT, 0}, {SYS_truncate, "truncate", PATH, 0}, {SYS_read, "read", FD, 0},
    {SYS_write, "write", FD, 1}, {SYS_pread64, "pread64", FD, 0}, {SYS_pwrite64, "pwrite64", FD, 1},
    {SYS_readv, "readv", FD, 0}, {SYS_writev, "writev", FD, 1}, {SYS_lseek, "lseek", FD, 0},
    {SYS_close, "close", FD, 0}, {SYS_fsync, "fsync", FD, 1}, {SYS_fdatasync, "fdatasync", FD, 1},
    {SYS_ftruncate, "ftruncate", FD, 0}, {SYS_fstat, "fstat", FD, 0}, {SYS_getdents64, "getdents64", FD, 0},
    {SYS_flock, "flock", FD, 0}, {SYS_fallocate, "fallocate", FD, 1}, {SYS_fchmod, "fchmod", FD, 0},
    {SYS_fcntl, "fcntl", FD, 0}, {SYS_copy_file_range, "copy_file_range", FD, 1},
};

#if defined(__x86_64__)
typedef struct user_regs_struct regs;
static long number_of(const regs *r) { return (long)r->orig_rax; }
static unsigned long argument(const regs *r, int i) { return i == 0 ? r->rdi : r->rsi; }
static void skip(pid_t pid, regs *r) {
    r->orig_rax = (unsigned long)-1;
    struct iovec to = {r, sizeof *r};
    ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &to);
}
static void set_result(regs *r, long result) { r->rax = (unsigned long)result; }
#elif defined(__aarch64__)
typedef struct user_regs_struct regs;
static long number_of(const regs *r) { return (long)r->regs[8]; }
static unsigned long argument(const regs *r, int i) { return r->regs[i]; }
static void skip(pid_t pid, regs *r) {
    int none = -1;
    struct iovec to = {&none, sizeof none};
    (void)r;
    ptrace(PTRACE_SETREGSET, pid, (void *)NT_ARM_SYSTEM_CALL, &to);
}
static void set_result(regs *r, long result) { r->regs[0] = (unsigned long)result; }
#else
#error "registers of this processor are not known here"
#endif

#define THREADS 4096
static struct thread { pid_t pid; int inside; int error; } threads[THREADS];

static struct thread *thread_of(pid_t pid) {
    struct thread *unused = NULL;
    for (int i = 0; i < THREADS; i++) {
        if (threads[i].pid == pid) return &threads[i];
        if (!unused && !threads[i].pid) unused = &threads[i];
    }
    if (!unused) exit(125);
    *unused = (struct thread){pid, 0, 0};
    return unused;
}

static void link_of(const char *name, pid_t pid, long fd, char *to) {
    char from[64];
    if (fd < 0) snprintf(from, sizeof from, "/proc/%d/%s", pid, name);
    else snprintf(from, sizeof from, "/proc/%d/%s/%ld", pid, name, fd);
    ssize_t n = readlink(from, to, PATH_MAX - 1);
    to[n < 0 ? 0 : n] = 0;
}

static void path_of(pid_t pid, unsigned long at, char *to) {
    size_t n = 0;
    while (n < PATH_MAX - sizeof(long)) {
        errno = 0;
        long word = ptrace(PTRACE_PEEKDATA, pid, (void *)(at + n), 0);
        if (errno) break;
        memcpy(to + n, &word, sizeof word);
        if (memchr(&word, 0, sizeof word)) return;
        n += sizeof word;
    }
    to[n] = 0;
}

static void file_of(pid_t pid, const struct call *call, const regs *r, char *to) {
    if (call->file == FD) {
        link_of("fd", pid, (int)argument(r, 0), to);
        return;
    }
    char path[PATH_MAX + 8], folder[PATH_MAX];
    path_of(pid, argument(r, call->file == AT), path);
    if (path[0] == '/') {
        strcpy(to, path);
        return;
    }
    long fd = call->file == AT ? (int)argument(r, 0) : AT_FDCWD;
    link_of(fd == AT_FDCWD ? "cwd" : "fd", pid, fd == AT_FDCWD ? -1 : fd, folder);
    snprintf(to, FILE_MAX, "%s%s%s", folder, path[0] ? "/" : "", path);
}

static int below(const char *file, const char *roots) {
    while (*roots) {
        size_t n = strcspn(roots, ":");
        if (n && !strncmp(file, roots, n) && (file[n] == 0 || file[n] == '/')) return 1;
        roots += n + (roots[n] == ':');
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 6) return 125;
    FILE *log = fopen(argv[1], "w");
    long at = atol(argv[2]), count = 0;
    const char *kind = argv[3], *roots = argv[4];
    if (!log) return 125;
    setvbuf(log, NULL, _IOLBF, 0);
    pid_t program = fork();
    if (program == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0)) _exit(125);
        raise(SIGSTOP);
        execvp(argv[5], argv + 5);
        _exit(125);
    }
    int status, result = 125;
    if (waitpid(program, &status, 0) < 0 || !WIFSTOPPED(status)) return 125;
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                   PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, program, 0, options)) return 125;
    ptrace(PTRACE_SYSCALL, program, 0, 0);
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) return result;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            thread_of(pid)->pid = 0;
            if (pid == program) result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        if (!WIFSTOPPED(status)) continue;
        int signal = WSTOPSIG(status), deliver = 0;
        if (signal == (SIGTRAP | 0x80)) {
            struct thread *thread = thread_of(pid);
            regs r;
            struct iovec to = {&r, sizeof r};
            thread->inside = !thread->inside;
            if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &to)) continue;
            if (!thread->inside) {
                if (thread->error) {
                    set_result(&r, -thread->error);
                    ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &to);
                    thread->error = 0;
                }
            } else {
                long number = number_of(&r);
                for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
                    if (CALLS[i].number != number) continue;
                    char file[FILE_MAX] = "";
                    file_of(pid, &CALLS[i], &r, file);
                    if (!below(file, roots)) break;
                    fprintf(log, "%ld\t%s\t%s\t%s\n", ++count, CALLS[i].name, CALLS[i].room ? "room" : "-", file);
                    int full = !strcmp(kind, "full");
                    if (!at || (full ? count < at : count != at)) break;
                    if (!strcmp(kind, "kill")) {
                        kill(pid, SIGKILL);
                        break;
                    }
                    int error = !strcmp(kind, "eio") ? EIO : !strcmp(kind, "eintr") ? EINTR : ENOSPC;
                    if (error == ENOSPC && !CALLS[i].room) break;
                    thread->error = error;
                    skip(pid, &r);
                    break;
                }
            }
        } else if (signal == SIGTRAP && status >> 16) {
            if (status >> 16 == PTRACE_EVENT_EXEC) thread_of(pid)->inside = 1;
        } else if (signal == SIGSTOP) {
            thread_of(pid); /* a new thread or process begins so */
        } else {
            deliver = signal;
        }
        ptrace(PTRACE_SYSCALL, pid, 0, deliver);
    }
}
