# shellcheck shell=bash
# What the multi_run_albert_*.sh scripts say of their variables. Sourced, never run. The one source is the comments in
# the script and in scripts/run_common.sh: `NAME=${NAME:-default} # what it is`, and `# NAME: what it is` for a variable
# that no such line sets.

root=${root:?} # of whoever sources this
declare -A text_of_variable=() # what is said of each variable that the script reads
listed_variables=''            # a line for each of the file that was read last

# read_variables FILE: adds the variables of a script to both.
read_variables() {
  local line name default text
  listed_variables=''
  while IFS= read -r line; do
    # shellcheck disable=SC2016 # the text ${ is meant
    if [[ $line =~ ^([A-Z_]+)='${'([A-Z_]+):?-(.*)'}'\ +'# '(.*)$ && ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]]; then
      name=${BASH_REMATCH[1]} default=${BASH_REMATCH[3]} text=${BASH_REMATCH[4]}
    elif [[ $line =~ ^'# '([A-Z_]+)': '(.*)$ ]]; then
      name=${BASH_REMATCH[1]} default='' text=${BASH_REMATCH[2]}
    else
      continue
    fi
    if [[ ${text_of_variable[$name]+set} ]]; then continue; fi # the script says it better
    text_of_variable[$name]=$text
    if [[ $default && $default != *'$'* ]]; then name+="=$default"; fi
    printf -v line '  %-26s %s\n' "$name" "$text"
    listed_variables+=$line
  done <"$1"
}

# show_help SCRIPT: prints the comment at its top, with an example, and the variables.
show_help() {
  sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//p}' "$1"
  read_variables "$1"
  printf '\nVariables of this script, with their defaults:\n%s' "$listed_variables"
  read_variables "$root/scripts/run_common.sh"
  printf '\nVariables of all multi_run_albert_*.sh:\n%s' "$listed_variables"
  printf '\nVARIABLE=value goes in front of the name of the script, --flag=value behind it. Flags win over variables.\n'
}
