# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vault_kms_plugin_global_optspecs
    string join \n config= h/help V/version
end

function __fish_vault_kms_plugin_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vault_kms_plugin_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vault_kms_plugin_using_subcommand
    set -l cmd (__fish_vault_kms_plugin_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -l config -d 'Configuration file; by default the one that `VAULT_KMS_PLUGIN_CONFIG` names, else /etc/vault-kms-plugin/config.toml if it exists' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -s h -l help -d 'Print help'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -s V -l version -d 'Print version'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -f -a "serve" -d 'Run the daemon'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -f -a "init" -d 'Write the files of a new installation: configuration, policy, the commands for Vault, both steps of the EncryptionConfiguration, unit or manifest'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -f -a "check" -d 'Validate the configuration and prove that it works: connection, TLS, login, policy, key, a round trip'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -f -a "status" -d 'Show the state of the running daemon'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -f -a "reload" -d 'Let the running daemon read its configuration again, and wait for the outcome'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -f -a "convert" -d 'Convert the settings of another plugin: configuration, its secrets in files, unit or manifest'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -f -a "prepare-dir" -d 'Give the socket\'s directory to the user that the plugin runs as; for the init container of a static pod, which is root'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand serve" -l user -d 'Become this user before the configuration is read, for good and without a capability; for a static pod, which starts as root' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand serve" -l dir -d 'Before that, give this directory to the user, as `prepare-dir` does. May be given several times' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand serve" -l config -d 'Configuration file; by default the one that `VAULT_KMS_PLUGIN_CONFIG` names, else /etc/vault-kms-plugin/config.toml if it exists' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand serve" -s h -l help -d 'Print help'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l out -d 'Directory to write to. Nothing in it is overwritten' -r -f -a "(__fish_complete_directories)"
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l platform -d 'What starts kube-apiserver' -r -f -a "systemd\t'a systemd unit on the host, for any kube-apiserver'
static-pod\t'a static pod, for a kube-apiserver that is one'
kubeadm\t'kubeadm, and what is built on it, such as kind: a static pod'
k3s\t'k3s, with a systemd unit'
rke2\t'RKE2, with a systemd unit'
k0s\t'k0s, with a systemd unit'"
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l address -d 'Address of Vault, such as `https://vault.example:8200`. May be given several times' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l ca-file -d 'Path on the nodes of the certificate of Vault\'s CA; by default those of the system are trusted' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l tls-server-name -d 'The name in Vault\'s certificate, if it is not the host of the address' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l namespace -d 'Namespace of key and login' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l mount -d 'Mount of the Transit engine; `transit` by default' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l key -d 'Name of the key, which no other cluster may use; `kms` by default' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l key-id-suffix -d 'Suffix of every key_id, when an earlier key writes again' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l auth -d 'How the plugin logs in' -r -f -a "token\t'a token of each node'
approle\t'a role_id and a secret_id of each node'
userpass\t'a user and a password'
jwt\t'a token of a service account, which Vault verifies itself'
kubernetes\t'a token of a service account, which kube-apiserver reviews for Vault'
cert\t'a certificate of each node'"
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l auth-mount -d 'Mount of the auth method; by default its name' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l role -d 'Name of the role in Vault' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l username -d 'Name of the user in Vault, for `--auth userpass`' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l policy -d 'Name of the policy in Vault' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l issuer -d 'Issuer of the tokens of service accounts, for `--auth jwt`' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l kubernetes-host -d 'Where Vault reaches kube-apiserver; required for `--auth kubernetes`' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l node-name -d 'Common names in the certificates of the nodes; required for `--auth cert`' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l socket -d 'The socket on the nodes' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l allow-uid -d 'User that kube-apiserver runs as, if it is not root. May be given several times' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l provider -d 'Name of the provider in the EncryptionConfiguration, which each object in etcd carries' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l resource -d 'Resources to encrypt' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l timeout -d 'How long kube-apiserver waits for a call' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l image -d 'Image of the static pod' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l program -d 'The program on the nodes, for the unit' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l kubeadm-api -d 'Version of kubeadm\'s configuration: `v1beta3` for Kubernetes 1.30 and earlier' -r -f -a "v1beta4\t'Kubernetes 1.31 and later'
v1beta3\t'Kubernetes 1.30 and earlier'"
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -l config -d 'Configuration file; by default the one that `VAULT_KMS_PLUGIN_CONFIG` names, else /etc/vault-kms-plugin/config.toml if it exists' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -l unit -d 'Use the environment and the configuration file of this systemd unit instead of those of the shell' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -l encryption-config -d 'Check that kube-apiserver\'s EncryptionConfiguration fits' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -l config -d 'Configuration file; by default the one that `VAULT_KMS_PLUGIN_CONFIG` names, else /etc/vault-kms-plugin/config.toml if it exists' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -l offline -d 'Run only the checks that need no connection to Vault'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -l login -d 'Log in even if that may use up a secret_id or a wrapping token'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -l running -d 'Also use the socket of the running daemon as the kube-apiserver of this host would, and check the EncryptionConfiguration that it was started with'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -l fingerprint -d 'Print only the fingerprint of what has to be the same on every node: of the configuration, and of the EncryptionConfiguration if that is named'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -l strict -d 'Exit with 1 if there are warnings and no errors'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -l json -d 'Print JSON'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand check" -s h -l help -d 'Print help'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand status" -l address -d 'Admin address of the daemon; by default `admin.listen`, also of an invalid file' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand status" -l socket -d 'The KMS socket for `--live`; by default `socket.path`. A probe should name it, so that a change of the file, which the daemon has not read yet, does not matter' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand status" -l config -d 'Configuration file; by default the one that `VAULT_KMS_PLUGIN_CONFIG` names, else /etc/vault-kms-plugin/config.toml if it exists' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand status" -l json -d 'Print JSON'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand status" -l watch -d 'Repeat every 2 s until interrupted'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand status" -l live -d 'Show only whether the KMS socket answers, whatever Vault does: for liveness probes. Needs no admin server'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand status" -s h -l help -d 'Print help'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand reload" -l address -d 'Admin address of the daemon; by default `admin.listen`, also of an invalid file' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand reload" -l config -d 'Configuration file; by default the one that `VAULT_KMS_PLUGIN_CONFIG` names, else /etc/vault-kms-plugin/config.toml if it exists' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand reload" -s h -l help -d 'Print help'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -l from -d 'Which plugin the settings are of: vault-kubernetes-kms, vault-kms-provider, vault-kube-kms, kleidi or bao-kms-provider; by default what they look like' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -l input -d 'A file: a command line, variables of the environment, a systemd unit, the manifest of a pod, a ConfigMap, values of a Helm chart, Kleidi\'s JSON or the YAML of bao-kms-provider. May be given several times' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -l out -d 'Directory to write to; nothing in it is overwritten' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -l runs -d 'What will start this plugin; by default a static pod if the other one was in a pod, else systemd' -r -f -a "systemd\t'A unit of systemd'
static-pod\t'A static pod'"
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -l install-dir -d 'Directory of the configuration and the credentials on a node' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -l working-dir -d 'Directory that relative paths of the other plugin are in' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -l image -d 'Image of the static pod' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -l program -d 'The program on the nodes, for the unit' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -l config -d 'Configuration file; by default the one that `VAULT_KMS_PLUGIN_CONFIG` names, else /etc/vault-kms-plugin/config.toml if it exists' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand convert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand prepare-dir" -l owner -d 'Numeric UID:GID that will own the directory' -r
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand prepare-dir" -l config -d 'Configuration file; by default the one that `VAULT_KMS_PLUGIN_CONFIG` names, else /etc/vault-kms-plugin/config.toml if it exists' -r -F
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand prepare-dir" -s h -l help -d 'Print help'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand help; and not __fish_seen_subcommand_from serve init check status reload convert prepare-dir help" -f -a "serve" -d 'Run the daemon'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand help; and not __fish_seen_subcommand_from serve init check status reload convert prepare-dir help" -f -a "init" -d 'Write the files of a new installation: configuration, policy, the commands for Vault, both steps of the EncryptionConfiguration, unit or manifest'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand help; and not __fish_seen_subcommand_from serve init check status reload convert prepare-dir help" -f -a "check" -d 'Validate the configuration and prove that it works: connection, TLS, login, policy, key, a round trip'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand help; and not __fish_seen_subcommand_from serve init check status reload convert prepare-dir help" -f -a "status" -d 'Show the state of the running daemon'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand help; and not __fish_seen_subcommand_from serve init check status reload convert prepare-dir help" -f -a "reload" -d 'Let the running daemon read its configuration again, and wait for the outcome'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand help; and not __fish_seen_subcommand_from serve init check status reload convert prepare-dir help" -f -a "convert" -d 'Convert the settings of another plugin: configuration, its secrets in files, unit or manifest'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand help; and not __fish_seen_subcommand_from serve init check status reload convert prepare-dir help" -f -a "prepare-dir" -d 'Give the socket\'s directory to the user that the plugin runs as; for the init container of a static pod, which is root'
complete -c vault-kms-plugin -n "__fish_vault_kms_plugin_using_subcommand help; and not __fish_seen_subcommand_from serve init check status reload convert prepare-dir help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
