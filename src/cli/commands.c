/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#define BIT(option) (1u << OPT_##option)

/* Where to look; every command that reads a repository. */
#define LOOK (BIT(REPOSITORY) | BIT(FINGERPRINT) | BIT(NS) | BIT(JSON))

/* Into what archive; every command that looks into one. */
#define INSIDE (BIT(REPOSITORY) | BIT(FINGERPRINT) | BIT(NS) | BIT(KEYFILE) | BIT(CHUNKS) | BIT(ALLOW_UNSIGNED) | \
		BIT(CACHE) | BIT(READ_AHEAD) | BIT(CONNECTIONS) | BIT(TIMEOUT))

const struct command commands[] = {
	{
		.name = "map",
		.args = "SNAPSHOT ARCHIVE [TARGET]",
		.kinds = { WORD_SNAPSHOT, WORD_IMAGE, WORD_TARGET },
		.min_args = 1,
		.max_args = 3,
		.options = LOOK | BIT(KEYFILE) | BIT(CHUNKS) | BIT(ALLOW_UNSIGNED) | BIT(VIA) | BIT(NAME) |
			   BIT(FOREGROUND) | BIT(VERBOSE) | BIT(CACHE) | BIT(READ_AHEAD) | BIT(CONNECTIONS) |
			   BIT(TIMEOUT) | BIT(IDLE),
		.summary = "show a disk image as a block device, a file or an NBD socket",
		.help = "Shows the disk image ARCHIVE (drive-scsi0.img) of SNAPSHOT as a read-only block\n"
			"device and prints the device; its partitions are /dev/loopNp1 and so on. With\n"
			"--via file it is a plain file at TARGET, with --via socket a socket there for\n"
			"NBD clients, whose URI is printed; both work without root. With --via nbd the\n"
			"device is /dev/nbdN, a free one or the one that TARGET names. It is there when\n"
			"the command ends, and stays until unmap. With --chunks, SNAPSHOT is an index\n"
			"file (./drive.img.fidx), and there is no ARCHIVE.\n\n"
			"A server's password comes from PBS_PASSWORD, that of a key from\n"
			"PBS_ENCRYPTION_PASSWORD (or their forms _FD, _FILE, _CMD), or is asked for.\n\n"
			"Warning: the file system of a backup that you do not trust can attack the\n"
			"kernel that mounts it; look at such a one in a virtual machine. Others:\n"
			"mount -o ro,noload (ext4), -o ro,norecovery (xfs), -o ro,rescue=nologreplay\n"
			"(btrfs).",
		.run = cmd_map,
	},
	{
		.name = "serve",
		.args = "SNAPSHOT [ARCHIVE ...]",
		.min_args = 1,
		.max_args = COMMAND_MANY_ARGS,
		.kinds = { WORD_SNAPSHOT, WORD_IMAGE, WORD_IMAGE },
		.options = LOOK | BIT(KEYFILE) | BIT(CHUNKS) | BIT(ALLOW_UNSIGNED) | BIT(NAME) | BIT(VERBOSE) |
			   BIT(CACHE) | BIT(READ_AHEAD) | BIT(CONNECTIONS) | BIT(TIMEOUT) | BIT(SOCKET) |
			   BIT(LISTEN) | BIT(TLS_CERTIFICATES) | BIT(TLS_PSK) | BIT(IDLE),
		.summary = "show disk images to NBD clients, in the foreground",
		.help = "Serves the ARCHIVEs of SNAPSHOT, or all its disk images, read-only, to NBD\n"
			"clients (qemu-img, nbdcopy, nbd-client) at a unix socket or a TCP port, or at\n"
			"the sockets that systemd has opened. Prints the URI for them when it listens;\n"
			"ends by unmap, SIGTERM, Ctrl-C (with its last client; the second time at once).\n"
			"An export is named like its archive, a partition drive-scsi0.img/p1. Without\n"
			"TLS there is no password and no encryption: who reaches the port reads the\n"
			"backup.",
		.run = cmd_serve,
	},
	{
		.name = "unmap",
		.args = "DEVICE|NAME|NUMBER",
		.kinds = { WORD_MAPPING },
		.max_args = 1,
		.options = BIT(WAIT) | BIT(FORCE) | BIT(ALL) | BIT(JSON),
		.summary = "take it away again, or say who still uses it",
		.help = "Takes away the mapping at DEVICE (/dev/loop3, or the path of a file), or of\n"
			"that NUMBER (3), or NAME: as list shows it, or its end from behind a '/' on.\n"
			"One in use is not taken away; its users are named, exit status 5. Without a\n"
			"word it shows what is mapped.",
		.run = cmd_unmap,
	},
	{
		.name = "mount",
		.args = "SNAPSHOT ARCHIVE DIR",
		.kinds = { WORD_SNAPSHOT, WORD_TREE, WORD_DIRECTORY },
		.min_args = 2,
		.max_args = 3,
		.options = INSIDE | BIT(JSON) | BIT(NAME) | BIT(FOREGROUND) | BIT(VERBOSE) | BIT(EXACT_LINKS) | BIT(OPTIONS),
		.summary = "show the files of a file archive below a directory",
		.help = "Shows the files of the file archive ARCHIVE (root.pxar) of SNAPSHOT below the\n"
			"directory DIR, read-only, with owners, times, attributes and access control\n"
			"lists as they were; prints DIR. They are there when the command ends, and stay\n"
			"until umount. Without root only who mounted them sees them. A DIR that is not\n"
			"there is made, and removed again.",
		.run = cmd_mount,
	},
	{
		.name = "umount",
		.args = "DIR|NAME",
		.kinds = { WORD_MAPPING },
		.max_args = 1,
		.options = BIT(WAIT) | BIT(FORCE) | BIT(ALL) | BIT(JSON),
		.summary = "take the files away again; the same as unmap",
		.help = "Takes away what mount shows at DIR, or a mapping by its NAME, as unmap does.",
		.run = cmd_unmap,
	},
	{
		.name = "list",
		.args = "",
		.options = BIT(JSON),
		.summary = "what is mapped, its traffic, its health, who uses it",
		.help = "Lists the mappings of this user. READ is what was read from it, FETCHED what\n"
			"that took from the repository. State: ready, reconnecting (the server is lost,\n"
			"and looked for; reads wait), ending (goes with its last user), silent (does not\n"
			"answer), dead (its process was killed; unmap cleans it). What a repository\n"
			"holds is listed by groups and snapshots.",
		.run = cmd_list,
	},
	{
		.name = "namespaces",
		.args = "",
		.options = BIT(REPOSITORY) | BIT(FINGERPRINT) | BIT(JSON),
		.summary = "the namespaces of a repository",
		.help = "Lists the namespaces below the root, one per line.",
		.run = cmd_namespaces,
	},
	{
		.name = "groups",
		.args = "",
		.options = LOOK,
		.summary = "what has backups there",
		.help = "Lists the groups (vm/100) of a namespace: newest finished snapshot, number of\n"
			"snapshots, owner. What cannot be read is said, and the rest listed: exit\n"
			"status 6, or 4 where it is a right that is missing.",
		.run = cmd_groups,
	},
	{
		.name = "snapshots",
		.args = "[GROUP]",
		.kinds = { WORD_GROUP },
		.max_args = 1,
		.options = LOOK,
		.summary = "the backups there are",
		.help = "Lists the snapshots of a namespace, or of one GROUP, with size, state and\n"
			"archives. State: not finished, protected, and what the server's last\n"
			"verification said. What cannot be read is said, and the rest listed: exit\n"
			"status 6, or 4 where it is a right that is missing.",
		.run = cmd_snapshots,
	},
	{
		.name = "files",
		.args = "SNAPSHOT",
		.kinds = { WORD_SNAPSHOT },
		.min_args = 1,
		.max_args = 1,
		.options = LOOK,
		.summary = "the archives of a snapshot",
		.help = "Lists the archives of SNAPSHOT: how they are encrypted, their size in bytes.\n"
			"Those that end in .img can be mapped, those in .pxar mounted.",
		.run = cmd_files,
	},
	{
		.name = "ls",
		.args = "SNAPSHOT ARCHIVE [PATH]",
		.kinds = { WORD_SNAPSHOT, WORD_TREE, WORD_INSIDE },
		.min_args = 1,
		.max_args = 3,
		.options = INSIDE | BIT(JSON) | BIT(RECURSIVE) | BIT(EXACT_LINKS),
		.summary = "what is in a file archive",
		.help = "Lists what is at PATH, else at the root, of the file archive ARCHIVE\n"
			"(root.pxar) of SNAPSHOT: mode, owner and group, size or device, time, name.\n"
			"Nothing is mounted and no rights are needed. What is damaged is said, and the\n"
			"rest listed: exit status 6.",
		.run = cmd_ls,
	},
	{
		.name = "cat",
		.args = "SNAPSHOT ARCHIVE PATH",
		.kinds = { WORD_SNAPSHOT, WORD_TREE, WORD_INSIDE },
		.min_args = 2,
		.max_args = 3,
		.options = INSIDE,
		.summary = "a file of a file archive, to the standard output",
		.help = "Writes the file at PATH in the file archive ARCHIVE (root.pxar) of SNAPSHOT to\n"
			"the standard output. Symbolic links are followed inside the archive.",
		.run = cmd_cat,
	},
	{
		.name = "extract",
		.args = "SNAPSHOT ARCHIVE [PATH...]",
		.kinds = { WORD_SNAPSHOT, WORD_TREE, WORD_INSIDE },
		.min_args = 1,
		.max_args = COMMAND_MANY_ARGS,
		.options = INSIDE | BIT(TO) | BIT(TAR),
		.summary = "files of a file archive, to a directory or as a tar archive",
		.help = "Takes what is at each PATH, else everything, out of the file archive ARCHIVE\n"
			"(root.pxar) of SNAPSHOT: into a new or empty directory (--to DIR), or as a tar\n"
			"archive (--tar -). Owners and devices are restored when root runs it. What is\n"
			"damaged is said, and the rest extracted: exit status 6.",
		.run = cmd_extract,
	},
	{ 0 },
};

int exit_status_of(int code)
{
	switch (code) {
	case 0:
		return EXIT_DONE;
	case -EINVAL:
	case -ENOTUNIQ:
	case -EISDIR:
		return EXIT_USAGE;
	case -ENOENT:
	case -ENOTDIR:
		return EXIT_NOT_FOUND;
	case -EACCES:
	case -EPERM:
	case -ENOKEY:
	case -EKEYREJECTED:
	case -EAGAIN: /* a snapshot that is not finished */
		return EXIT_REFUSED;
	case -EBUSY:
		return EXIT_BUSY;
	case -EBADMSG:
	case -EUCLEAN: /* and what was written of it is not whole */
		return EXIT_DAMAGED;
	case -EINTR:
		return EXIT_INTERRUPTED;
	default:
		return EXIT_FAILED;
	}
}
