# SPDX-License-Identifier: Apache-2.0
# bash completion of pbsmap: the program knows its own words, and quotes them.

_pbsmap()
{
	local -a answer
	mapfile -t answer < <(command pbsmap __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
	COMPREPLY=("${answer[@]:1}")
	case ${answer[0]-} in
	files) compopt -o default ;;
	directories) compopt -o plusdirs ;;
	esac
	# "vm/100/" goes on
	[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != */ ]] || compopt -o nospace
}

complete -F _pbsmap pbsmap
