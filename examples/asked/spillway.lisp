;;; SPDX-License-Identifier: BSD-2-Clause
;;; SBCL's collector is asked when memory is short.
;;;
;;; Usage: (load "spillway.lisp") in a program that has threads; beside it
;;; libasked.so, which `make` builds (or ASKED_LIBRARY says where it is).
;;; SPILLWAY-ATTACH answers NIL where it is asked from now on, else the reason.
;;; EXIT ends the thread as it ends others.
(in-package :cl-user)
(require :sb-posix)

(sb-alien:load-shared-object
 (or (sb-posix:getenv "ASKED_LIBRARY")
     (namestring (merge-pathnames "libasked.so" *load-truename*))))

(sb-alien:define-alien-routine "asked_start" sb-alien:c-string
  (name sb-alien:c-string))
(sb-alien:define-alien-routine "asked_wait" sb-alien:int
  (milliseconds sb-alien:int))
(sb-alien:define-alien-routine "asked_done" sb-alien:void)

(defun spillway-attach ()
  (or (asked-start "sbcl")
      (progn
        (sb-thread:make-thread
         (lambda ()
           (loop while (plusp (asked-wait -1))
                 do (sb-ext:gc :full t)
                    (asked-done)))
         :name "spillway")
        nil)))
