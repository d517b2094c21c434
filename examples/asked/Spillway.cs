// SPDX-License-Identifier: BSD-2-Clause
// Mono's collector is asked when memory is short.
//
// Usage: Spillway.Attach() once; null where it is asked from now on, else the
// reason. libasked.so, which `make` builds, must be where Mono looks for
// libraries (LD_LIBRARY_PATH, or a dllmap).
using System;
using System.Runtime.InteropServices;
using System.Threading;

public static class Spillway
{
	[DllImport("asked")]
	static extern IntPtr asked_start(string name);
	[DllImport("asked")]
	static extern int asked_wait(int milliseconds);
	[DllImport("asked")]
	static extern void asked_done();

	// Mono's end waits for a thread that is in C: so not for long in there.
	const int Nap = 250;

	static void Serve()
	{
		for (;;) {
			int wanted = asked_wait(Nap);
			if (wanted < 0)
				return;
			if (wanted == 0)
				continue;
			GC.Collect();
			asked_done();
		}
	}

	public static string Attach()
	{
		IntPtr why = asked_start("mono");
		if (why != IntPtr.Zero)
			return Marshal.PtrToStringAnsi(why);
		// A background thread: the runtime ends without it.
		new Thread(Serve) { IsBackground = true, Name = "spillway" }
			.Start();
		return null;
	}
}
