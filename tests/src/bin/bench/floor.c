/*
 * The floor: what a module pays at least that asks one question and makes one change durable before it
 * answers. It looks nobody up, reads no configuration, judges nothing and logs nothing.
 *
 * auth required floor.so FOLDER
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <security/pam_ext.h>
#include <security/pam_modules.h>

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    const char *user;
    char *answer = NULL;
    char path[PATH_MAX];
    char record[512];
    const ssize_t size = sizeof record;
    int file;
    int done;

    (void)flags;
    if (argc != 1 || pam_get_user(pamh, &user, NULL) != PAM_SUCCESS)
        return PAM_SERVICE_ERR;
    if (pam_prompt(pamh, PAM_PROMPT_ECHO_OFF, &answer, "Verification code: ") != PAM_SUCCESS)
        return PAM_AUTH_ERR;
    free(answer);

    snprintf(path, sizeof path, "%s/%s", argv[0], user);
    file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return PAM_AUTH_ERR;
    done = flock(file, LOCK_EX) == 0 && pread(file, record, size, 0) == size &&
           pwrite(file, record, size, 0) == size && fdatasync(file) == 0;
    close(file);
    return done ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh;
    (void)flags;
    (void)argc;
    (void)argv;
    return PAM_SUCCESS;
}
