#!/bin/sh
# What the packages do on a node; packaging/stage.sh puts these functions before each of the scripts of dpkg and rpm.
# kube-apiserver depends on the plugin: nothing here starts it, restarts it, or touches a file that is not the
# package's.
set -eu

say() {
    echo "vault-kms-plugin: $*" >&2
}

systemd_runs() {
    [ -d /run/systemd/system ]
}

# The units that run (or listen), or that a boot starts.
running_units() {
    systemctl list-units --plain --no-legend --state=active,activating,reloading \
        'vault-kms-plugin*.service' 'vault-kms-plugin*.socket' | cut -d ' ' -f 1
}

enabled_units() {
    systemctl list-unit-files --no-legend --state=enabled 'vault-kms-plugin*' | cut -d ' ' -f 1
}

# Leaves the lines that name units of this package: not templates, nor what an operator put into /etc.
of_the_package() {
    while read -r unit; do
        case $unit:$(systemctl show --value -p FragmentPath "$unit" 2>/dev/null) in
        *@.*) ;;
        *:/usr/lib/* | *:/lib/*) echo "$unit" ;;
        esac
    done
}

# Files of an installation by hand, which are read instead of those of the package.
warn_of_shadows() {
    for unit in vault-kms-plugin.service vault-kms-plugin.socket vault-kms-plugin@.service vault-kms-plugin@.socket; do
        if [ -f "/etc/systemd/system/$unit" ] && [ ! -L "/etc/systemd/system/$unit" ]; then
            say "warning: /etc/systemd/system/$unit is used instead of the unit of this package: remove it, then run" \
                "systemctl daemon-reload"
        fi
    done
    for file in /usr/local/bin/vault-kms-plugin /etc/sysusers.d/vault-kms-plugin.conf \
        /etc/tmpfiles.d/vault-kms-plugin.conf; do
        if [ -f "$file" ]; then
            say "warning: $file is used instead of the file of this package: remove it"
        fi
    done
}

# The names of other plugins, as which the program behaves like them (docs/reference/drop-in.md): not in a directory of
# $PATH, where they would be taken for those. Not files of the package, because cargo-generate-rpm packs no links.
drop_in_dir=/usr/lib/vault-kms-plugin/drop-in

make_names() {
    mkdir -p "$drop_in_dir"
    for plugin in vault-kubernetes-kms vault-kms-provider vault-kube-kms; do
        ln -sf ../../../bin/vault-kms-plugin "$drop_in_dir/$plugin"
    done
}

remove_names() {
    rm -rf "$drop_in_dir"
    rmdir --ignore-fail-on-non-empty "${drop_in_dir%/*}" 2>/dev/null || :
}

# After the files of the package were put in place: configured, or upgraded.
put_in_place() {
    make_names
    systemd-sysusers vault-kms-plugin.conf
    # The root directory of an image may have no /proc, which this needs; its first boot does the same.
    if [ -e /proc/self ]; then
        systemd-tmpfiles --create vault-kms-plugin.conf
    fi
    if systemd_runs; then
        systemctl daemon-reload
    fi
    warn_of_shadows
}

say_how_to_begin() {
    say "installed, neither enabled nor started. Write /etc/vault-kms-plugin/config.toml (example:" \
        "/usr/share/vault-kms-plugin/config.toml), then run:"
    say "  vault-kms-plugin check && systemctl enable --now vault-kms-plugin.service"
}

# The plugin that runs goes on with the program that it was started from.
say_what_is_due() {
    systemd_runs || return 0
    for unit in $(running_units); do
        case $unit in
        *.service)
            say "$unit still runs the previous version, and serves. While Vault is reachable, and one node at a time:"
            say "  vault-kms-plugin check --unit ${unit%.service} && systemctl restart $unit"
            ;;
        esac
    done
}

# Before the program goes for good.
stop_for_good() {
    systemd_runs || return 0
    units=$( (running_units; enabled_units) | sort -u | of_the_package)
    [ -n "$units" ] || return 0
    say "warning: stops and disables" $units
    say "warning: kube-apiserver of this node cannot read or write encrypted objects without the plugin, and does not" \
        "start again. docs/operations/disable.md tells how to decrypt them before."
    # The sockets in the same command, or they would start the service again.
    systemctl disable --now $units
}

after_removal() {
    if systemd_runs; then
        systemctl daemon-reload
    fi
}

# Credentials and configuration files are the operator's.
purge() {
    for dir in /etc/vault-kms-plugin /var/lib/vault-kms-plugin; do
        if [ -d "$dir" ]; then
            rmdir --ignore-fail-on-non-empty "$dir"
        fi
        if [ -d "$dir" ]; then
            say "kept, because files are in it that the package did not put there: $dir"
        fi
    done
}
