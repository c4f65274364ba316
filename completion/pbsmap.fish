# SPDX-License-Identifier: Apache-2.0
# fish completion of pbsmap: the program knows its own words; fish quotes them.

function __pbsmap_complete
    set -l words (commandline -opc)
    # As it is typed; with the quote that may be open it cannot be unescaped.
    set -l word (commandline -ct)
    set -l plain (string unescape -- $word; or string trim --left --chars '"\'' -- $word)
    set -l answer (command pbsmap __complete words $words[2..] "$plain" 2>/dev/null)
    printf '%s\n' $answer[2..]

    # --keyfile=FILE
    set -l option (string match --regex '^-[^=]*=' -- "$plain")
    set -l typed (string replace -- "$option" '' "$plain")
    switch "$answer[1]"
        case files
            string join \n -- "$option"(__fish_complete_path "$typed")
        case directories
            string join \n -- "$option"(__fish_complete_directories "$typed")
    end
end

complete --command pbsmap --no-files --keep-order --arguments '(__pbsmap_complete)'
