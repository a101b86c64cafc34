PS1='\[\e[1m\]NODE\[\e[0m\]:\w# '
unset PROMPT_COMMAND HISTFILE
shopt -s checkwinsize
alias ls='ls --color=auto' ll='ls -l'
cd /root
# says each command before it runs: lvslab.training.shells
PS0='\e]633;E;$(HISTTIMEFORMAT= history 1)\a'
