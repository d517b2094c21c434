# SPDX-License-Identifier: BSD-2-Clause

# SPW_ARG_ENABLE(NAME, WHAT, DEFAULT): sets enable_NAME to yes or no.
AC_DEFUN([SPW_ARG_ENABLE],
[AC_ARG_ENABLE([$1],
	[AS_HELP_STRING([--enable-$1], [$2 @<:@$3@:>@])],
	[], [enable_$1=$3])
AS_CASE([$enable_$1], [yes|no], [],
	[AC_MSG_ERROR([--enable-$1 is yes or no, not "$enable_$1"])])])

# SPW_CC_FLAG(VARIABLE, FLAG): appends FLAG where the compiler takes it.
AC_DEFUN([SPW_CC_FLAG],
[AS_VAR_PUSHDEF([cached], [spw_cv_cc_flag_$2])
AC_CACHE_CHECK([whether $CC takes $2], [cached],
	[spw_saved=$CFLAGS
	CFLAGS="$CFLAGS -Werror $2"
	AC_COMPILE_IFELSE([AC_LANG_PROGRAM()],
		[AS_VAR_SET([cached], [yes])], [AS_VAR_SET([cached], [no])])
	CFLAGS=$spw_saved])
AS_VAR_IF([cached], [yes], [$1="$$1 $2"])
AS_VAR_POPDEF([cached])])

# SPW_WARNINGS: SPW_CFLAGS, what every source is compiled with.
AC_DEFUN([SPW_WARNINGS],
[SPW_CFLAGS="-std=gnu11 -fvisibility=hidden"
m4_foreach_w([spw_flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes
	-Wmissing-prototypes -Wold-style-definition -Wwrite-strings -Wundef
	-Wvla -Wpointer-arith -Wformat=2 -Wlogical-op
	-Wno-format-nonliteral -Wno-format-truncation -Wno-unused-parameter
	-Wno-missing-field-initializers
	-fno-math-errno -fno-semantic-interposition -ftls-model=initial-exec],
	[SPW_CC_FLAG([SPW_CFLAGS], spw_flag)])
AS_IF([test "x$enable_werror" = xyes], [SPW_CFLAGS="$SPW_CFLAGS -Werror"])
AC_SUBST([SPW_CFLAGS])])

# SPW_SANITIZER(LIST): SPW_SANITIZE, for compiling and linking alike.
AC_DEFUN([SPW_SANITIZER],
[SPW_SANITIZE=
AS_IF([test "x$1" != xno],
	[SPW_SANITIZE="-fsanitize=$1 -fno-omit-frame-pointer"
	AS_CASE([$1], [*undefined*],
		dnl alignment: liburcu-bp 0.13 keeps its readers, declared to
		dnl be aligned to 128, at multiples of 32, in its own header.
		[SPW_SANITIZE="$SPW_SANITIZE -fno-sanitize-recover=undefined"
		SPW_SANITIZE="$SPW_SANITIZE -fno-sanitize=alignment"])
	spw_saved=$CFLAGS
	CFLAGS="$CFLAGS $SPW_SANITIZE"
	AC_MSG_CHECKING([whether $CC links with -fsanitize=$1])
	AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AC_MSG_RESULT([yes])],
		[AC_MSG_RESULT([no])
		AC_MSG_ERROR([$CC has no -fsanitize=$1 here (Debian: apt install
libasan8 libubsan1 libtsan2, for clang libclang-rt-14-dev)])])
	CFLAGS=$spw_saved])
AC_SUBST([SPW_SANITIZE])])

# SPW_CHECK_LIBURCU: LIBURCU_BP_CFLAGS, LIBURCU_BP_LIBS.
AC_DEFUN([SPW_CHECK_LIBURCU],
[PKG_PROG_PKG_CONFIG
AS_IF([test -z "$PKG_CONFIG"],
	[AC_MSG_ERROR([pkg-config is missing (Debian: apt install pkg-config)])])
PKG_CHECK_MODULES([LIBURCU_BP], [liburcu-bp >= 0.13], [],
	[AC_MSG_ERROR([liburcu-bp 0.13 or newer is missing (Debian: apt install
liburcu-dev); pkg-config says: $LIBURCU_BP_PKG_ERRORS])])])

# SPW_CHECK_LUA: LUA_CFLAGS, LUA_LIBS for an example; have_lua, yes or no.
AC_DEFUN([SPW_CHECK_LUA],
[have_lua=no
for spw_name in lua5.4 lua-5.4 lua54; do
	AS_IF([test "$have_lua" = no],
		[PKG_CHECK_EXISTS([$spw_name >= 5.4.4],
			[PKG_CHECK_MODULES([LUA], [$spw_name], [have_lua=yes])])])
done])

# SPW_CHECK_JEMALLOC_PIC: JEMALLOC_PIC, an archive that can go into a shared
# object, of the very version whose internals alloc/jemalloc.redirect names.
AC_DEFUN([SPW_CHECK_JEMALLOC_PIC],
[AC_MSG_CHECKING([for libjemalloc_pic.a])
AS_CASE([$with_jemalloc_pic],
	[yes|no|search],
	[JEMALLOC_PIC=`$CC $CFLAGS -print-file-name=libjemalloc_pic.a`],
	[JEMALLOC_PIC=$with_jemalloc_pic])
AS_IF([test -f "$JEMALLOC_PIC"], [AC_MSG_RESULT([$JEMALLOC_PIC])],
	[AC_MSG_RESULT([no])
	AC_MSG_ERROR([libjemalloc_pic.a is missing: no "$JEMALLOC_PIC" (Debian: apt
install libjemalloc-dev; elsewhere --with-jemalloc-pic=PATH; without the
interposer --disable-malloc)])])
AC_CHECK_HEADER([jemalloc/jemalloc.h], [],
	[AC_MSG_ERROR([<jemalloc/jemalloc.h> is missing (Debian: apt install
libjemalloc-dev)])])
AC_MSG_CHECKING([for jemalloc 5.3.0])
AC_PREPROC_IFELSE([AC_LANG_PROGRAM([[#include <jemalloc/jemalloc.h>
#if JEMALLOC_VERSION_MAJOR != 5 || JEMALLOC_VERSION_MINOR != 3 \
	|| JEMALLOC_VERSION_BUGFIX != 0
#error other version
#endif]])], [AC_MSG_RESULT([yes])],
	[AC_MSG_RESULT([no])
	AC_MSG_ERROR([spillway embeds jemalloc 5.3.0, whose inner functions it
redirects (alloc/jemalloc.redirect), and <jemalloc/jemalloc.h> is of another
version (Debian 12: apt install libjemalloc-dev)])])
AC_SUBST([JEMALLOC_PIC])])
